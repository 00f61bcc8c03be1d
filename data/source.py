"""The characters of the documents of a corpus, decoded and normalised in pieces."""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterator

from data import documents, encodings
from data.errors import InputError
from data.progress import Progress
from data.reading import ReadingConfig

LONG = 1 << 24
"""Bytes of a text from which on progress is shown, and `kept_text` keeps it: a shorter one takes half a second."""


class Source:
    """The text of a corpus, whose pieces are read from files."""

    def __init__(self, paths: list[pathlib.Path], reading: ReadingConfig, member: str | None = None):
        """`member` is the only file of a zip file to read, without the first blank of each line; None: all."""
        self.paths = paths
        self.reading = reading
        self.member = member
        self.newlines = reading.newlines
        self.num_documents = 0
        """That have been read."""
        self._states: list[tuple[int, int]] | None = None

    @property
    def num_bytes(self) -> int:
        """Of all files; 0 for a pipe."""
        return sum(status.st_size for status in self._statuses())

    def must_not_change(self) -> None:
        """From now on, a file that changes before the last piece is read is an error."""
        self._states = self._current_states()

    def __iter__(self) -> Iterator[str]:
        """Yields the text in pieces.

        Raises:
          InputError: with the messages of all files that cannot be used; or the text has only white space.
        """
        text = self._decoded()
        if self.member:
            text = _without_leading_blanks(text)
        text = _with_line_feeds(text) if self.newlines == 'keep' else _with_spaces(text)
        if self.reading.max_characters:
            text = _beginning(text, self.reading.max_characters)
        yield from _not_blank(text, self.reading.corpus)
        if self._states is not None and self._states != self._current_states():
            raise InputError('the text was changed while it was read: start again when it is complete.')

    def _current_states(self) -> list[tuple[int, int]]:
        """Returns the size and the time of the last change of each file."""
        return [(status.st_size, status.st_mtime_ns) for status in self._statuses()]

    def _statuses(self) -> list[os.stat_result]:
        try:
            return [path.stat() for path in self.paths]
        except OSError as error:
            raise InputError(
                f'cannot read {error.filename}: {error.strerror}. Start again when it is there.'
            ) from error

    def _decoded(self) -> Iterator[str]:
        """Yields the texts of all documents, with a line feed between two."""
        self.num_documents = 0
        problems: list[str] = []
        sizes = [status.st_size for status in self._statuses()]
        with contextlib.closing(Progress('encoding the text', sum(sizes), shown_from=LONG)) as progress:
            for path, bytes_before in zip(self.paths, itertools.accumulate(sizes[:-1], initial=0), strict=True):
                try:
                    for piece in self._of_file(path, progress, bytes_before):
                        if not problems:
                            yield piece
                except InputError as error:
                    problems.append(str(error))
        if len(problems) > 1:
            problems.insert(0, f'{len(problems)} of {len(self.paths)} files cannot be used:')
        if problems:
            raise InputError('\n  '.join(problems))

    def _of_file(self, path: pathlib.Path, progress: Progress, bytes_before: int) -> Iterator[str]:
        """Yields the texts of the documents in a file, which begins after `bytes_before` of all files."""
        for document in documents.read(path):
            if self.member and document.name != f'{path}/{self.member}':
                continue
            if self.num_documents:
                yield '\n'
            self.num_documents += 1
            reading = self.reading
            for piece in encodings.decode(document, document.name, reading.encoding, reading.encoding_errors):
                progress.update(bytes_before + document.bytes_read)
                yield piece


def _not_blank(pieces: Iterator[str], corpus: str) -> Iterator[str]:
    """Yields the pieces. Raises `InputError` at the end if none has a visible character."""
    is_empty = is_blank = True
    for piece in pieces:
        is_empty = is_empty and not piece
        is_blank = is_blank and (not piece or piece.isspace())
        yield piece
    if is_blank:
        what = 'is empty' if is_empty else 'has only white space'
        raise InputError(f'corpus {corpus!r} {what}. Give another --corpus.')


def _without_leading_blanks(pieces: Iterator[str]) -> Iterator[str]:
    line_starts = True
    for piece in filter(None, pieces):
        own = piece.removeprefix(' ') if line_starts else piece
        yield own.replace('\n ', '\n')
        line_starts = piece.endswith('\n')


def _with_spaces(pieces: Iterator[str]) -> Iterator[str]:
    for piece in pieces:
        yield piece.replace('\n', ' ').replace('\r', ' ')


def _with_line_feeds(pieces: Iterator[str]) -> Iterator[str]:
    carried = ''  # a carriage return, which a line feed may follow in the next piece
    for piece in itertools.chain(filter(None, pieces), ['']):  # the last one takes what is carried
        whole = carried + piece
        carried = '\r' if piece.endswith('\r') else ''
        yield whole.removesuffix(carried).replace('\r\n', '\n').replace('\r', '\n')


def _beginning(pieces: Iterator[str], num_characters: int) -> Iterator[str]:
    left = num_characters
    for piece in pieces:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return
