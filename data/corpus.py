"""Reads a corpus as one text: a known name, a file, a folder, a glob, `.zip`, `.gz` or a URL."""

import contextlib
import dataclasses
import difflib
import glob
import hashlib
import os
import pathlib
from collections.abc import Iterator

from data import documents, encodings, kept_text, stored_text
from data.download import fetch, remote_from_url
from data.errors import InputError
from data.known_corpora import BUNDLED, NAMES, PTB_MEMBERS, REMOTE
from data.reading import ReadingConfig
from data.source import Source
from data.stored_text import StoredText


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text and where it came from."""

    text: StoredText
    can_be_read_again: bool
    """False for a pipe, such as /dev/stdin: a run on it cannot resume."""


def load(reading: ReadingConfig) -> Corpus:
    r"""Reads a corpus as one normalised text.

    The corpus is a name in `NAMES`, an http(s) URL, a file (a zip file: its `.txt` members; a gzip file: decompressed),
    a folder (all `.txt`, `.gz` and `.zip` files in it and its subfolders, in the order of their names, without hidden
    ones), a glob, or a folder that `data.encode` wrote. A file that is found twice, by a symbolic link, is read once.
    Byte order marks are removed. With `newlines='keep'` every line break is one `\n`. `max_characters` counts after it.

    Raises:
      InputError: there is no such corpus, it is empty, or the encoding cannot decode it, or is not the encoding of a
        known corpus. The message names every file that cannot be used.
    """
    if (folder := _stored(reading.corpus)) is not None:
        return Corpus(_read_stored(folder, reading), can_be_read_again=True)
    source = _source(reading)
    can_be_read_again = all(path.is_file() for path in source.paths)
    with _way_to_fetch_again(source):
        text = kept_text.load(source) if can_be_read_again else stored_text.temporary(source)
    return Corpus(text, can_be_read_again)


def encode(reading: ReadingConfig, folder: pathlib.Path) -> StoredText:
    """Writes a corpus to a new folder, which is a corpus itself, and returns it.

    Raises:
      InputError: as `load`, or the folder exists or cannot be written.
    """
    if folder.exists():
        raise InputError(f'out={str(folder)!r} exists: name a new folder.')
    if _stored(reading.corpus) is not None:
        raise InputError(f'corpus={reading.corpus!r} is encoded already: train on it as it is.')
    source = _source(reading)
    try:
        with _way_to_fetch_again(source):
            stored_text.create(folder, source)
    except OSError as error:
        raise InputError(f'out={str(folder)!r} cannot be written: {error}. Name another folder.') from error
    return stored_text.read(folder)


def text_sha256(text: str) -> str:
    """Returns the SHA-256 of `text` in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _source(reading: ReadingConfig) -> Source:
    corpus = reading.corpus
    if corpus in NAMES and not encodings.is_utf_8(reading.encoding):
        raise InputError(
            f'encoding={reading.encoding!r} does not go with corpus={corpus}, which is UTF-8: leave encoding out.'
        )
    return Source(_paths(corpus), reading, PTB_MEMBERS.get(corpus))


@contextlib.contextmanager
def _way_to_fetch_again(source: Source) -> Iterator[None]:
    """Adds to an `InputError` how to fetch a file from the web again."""
    try:
        yield
    except InputError as error:
        if _is_fetched(source.reading.corpus):
            raise InputError(f'{error} To fetch it again, delete {source.paths[0]}.') from error
        raise


def _stored(corpus: str) -> pathlib.Path | None:
    """Returns the folder that `data.encode` wrote; None if `corpus` is something else."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # not a path at all: `_paths` says so
        folder = pathlib.Path(corpus).expanduser()
        if corpus not in NAMES and stored_text.is_stored(folder):
            return folder
    return None


def _read_stored(folder: pathlib.Path, reading: ReadingConfig) -> StoredText:
    """Reads the folder. Raises `InputError` if it was encoded with another way to read line breaks."""
    text = stored_text.read(folder)
    if text.header.newlines != reading.newlines:
        raise InputError(
            f'newlines={reading.newlines} does not go with corpus={str(folder)!r}, which was encoded with '
            f'newlines={text.header.newlines}: give --newlines={text.header.newlines}, or encode the text again.'
        )
    return text[: reading.max_characters or None]


def _paths(corpus: str) -> list[pathlib.Path]:
    if corpus in BUNDLED:
        return [BUNDLED[corpus]]
    if _is_fetched(corpus):
        return [fetch(REMOTE[corpus] if corpus in REMOTE else remote_from_url(corpus), _check_readable)]
    try:
        found = _local_paths(pathlib.Path(corpus).expanduser()) if corpus else []
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such ~user, a NUL in it
        raise InputError(f'corpus {corpus[:50]!r} is not a valid path: {str(error).rstrip(".")}.') from error
    if not found:
        raise InputError(_not_found(corpus))
    return found


def _is_fetched(corpus: str) -> bool:
    return corpus in REMOTE or corpus.lower().startswith(('http://', 'https://'))


def _check_readable(path: pathlib.Path) -> None:
    """Raises `InputError` if the documents of a file cannot be read."""
    for document in documents.read(path):
        while document.read(1 << 20):
            pass


def _local_paths(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the file itself, or the files of a folder or glob in the order of their names."""
    if path.is_dir():
        found = _each_once([p for p in path.rglob('*') if _is_text_of_folder(p.relative_to(path)) and p.is_file()])
        if not found:
            raise InputError(
                f'corpus folder {str(path)!r} contains no visible {", ".join(documents.SUFFIXES)} file. Name a file or '
                f'a glob.'
            )
        return found
    if path.exists():
        return [path]
    return _each_once([pathlib.Path(p) for p in glob.glob(str(path), recursive=True) if pathlib.Path(p).is_file()])


def _is_text_of_folder(path: pathlib.Path) -> bool:
    return path.suffix.lower() in documents.SUFFIXES and not documents.is_hidden(path.parts)


def _each_once(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the paths in the order of their names; of those that lead to one file, the shortest."""
    distinct: dict[str, pathlib.Path] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        distinct.setdefault(os.path.realpath(path), path)
    return sorted(distinct.values())


def _not_found(corpus: str) -> str:
    siblings = [p.name for p in pathlib.Path().glob('*.txt')]
    close = difflib.get_close_matches(corpus, [*NAMES, *siblings], n=1)
    if corpus == '-':
        hint = ' To train on stdin, save it to a file first.'
    elif '://' in corpus:
        hint = ' Only http:// and https:// are fetched: download the file, then name it.'
    else:
        hint = f' Did you mean {close[0]}?' if close else ''
    return (
        f'corpus {corpus!r} is not a file, a folder, a glob that matches a file, an http(s) URL or a known name '
        f'({", ".join(NAMES)}).{hint}'
    )
