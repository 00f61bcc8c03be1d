"""The documents in a file: a text, the texts in a zip file, or a gzip file.

The first bytes of a file tell which; but a file that is named .zip must be a zip file.
"""

import contextlib
import gzip
import io
import lzma
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from data.encodings import Readable
from data.errors import InputError

SUFFIXES = ('.txt', '.gz', '.zip')
"""Of the files that a folder contributes."""

_GZIP = b'\x1f\x8b'
_ZIP = (b'PK\x03\x04', b'PK\x05\x06')  # the second: without members
_METADATA = '__MACOSX'
_FORMATTED = {b'%PDF-': 'a PDF', b'{\\rtf': 'an RTF', b'\xd0\xcf\x11\xe0': 'an old Office'}
_ZIP_FORMATTED = {'[Content_Types].xml': 'an Office', 'mimetype': 'an OpenDocument or EPUB'}


class Document:
    """A document that is being read."""

    def __init__(self, path: pathlib.Path, name: str, stream: Readable, file: IO[bytes]):
        """`stream` is the content of the document, which is in the open `file` at `path`."""
        self.name = name
        """For messages."""
        self._path, self._stream, self._file = path, stream, file

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes, fewer only at the end. Raises `InputError` if the file is damaged."""
        with _errors(self._path):
            return self._stream.read(size)

    @property
    def bytes_read(self) -> int:
        """Bytes of the file, packed as they are, that have been read; 0 for a pipe."""
        return self._file.tell() if self._file.seekable() else 0


def is_hidden(parts: tuple[str, ...]) -> bool:
    """Returns whether a path is hidden or metadata, such as `.ipynb_checkpoints/a.txt` or AppleDouble's `._a.txt`."""
    return any(part.startswith('.') or part == _METADATA for part in parts)


def read(path: pathlib.Path) -> Iterator[Document]:
    """Yields each document in the file; read it before the next one.

    Raises:
      InputError: the file cannot be read, is damaged, is a zip file without a text, or has markup instead of a text.
    """
    with _errors(path), path.open('rb') as file:
        start = file.peek(max(map(len, _FORMATTED)))
        if start.startswith(_ZIP) or path.suffix.lower() == '.zip':
            yield from _zip_members(path, file if file.seekable() else io.BytesIO(file.read()))
        elif start.startswith(_GZIP):
            yield Document(path, str(path), gzip.GzipFile(fileobj=file), file)
        else:
            for magic, kind in _FORMATTED.items():
                if start.startswith(magic):
                    raise _not_plain(path, kind)
            yield Document(path, str(path), file, file)


@contextlib.contextmanager
def _errors(path: pathlib.Path) -> Iterator[None]:
    """Raises the errors of files and archives as `InputError`."""
    try:
        yield
    # zipfile raises RuntimeError for an encrypted member and its subclass NotImplementedError for an unknown method.
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        RuntimeError,
        UnicodeDecodeError,
    ) as error:
        raise InputError(f'cannot read {path}: {error}. Give a text file, or an undamaged .zip or .gz file.') from error


def _zip_members(path: pathlib.Path, file: IO[bytes]) -> Iterator[Document]:
    """Yields the texts in the order of their names. Of two members with one name the last counts, as for `unzip`."""
    with zipfile.ZipFile(file) as archive:
        names = sorted({name for name in archive.namelist() if _is_text(name)})
        if not names:
            for name, kind in _ZIP_FORMATTED.items():
                if name in archive.namelist():
                    raise _not_plain(path, kind)
            raise InputError(f'{path} contains no .txt file, only: {", ".join(archive.namelist()[:5]) or "nothing"}.')
        for name in names:
            with archive.open(name) as member:
                yield Document(path, f'{path}/{name}', member, file)


def _not_plain(path: pathlib.Path, kind: str) -> InputError:
    return InputError(f'{path} is {kind} file, not plain text: save it as a .txt file and give that.')


def _is_text(name: str) -> bool:
    return name.lower().endswith('.txt') and not is_hidden(pathlib.PurePosixPath(name).parts)
