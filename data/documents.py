"""The documents in a file: a text, the texts in a zip file, or a gzip file. The first bytes of a file tell which."""

import gzip
import io
import lzma
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

from data.errors import InputError

SUFFIXES = ('.txt', '.gz', '.zip')
"""Of the files that a folder contributes."""

_GZIP = b'\x1f\x8b'
_ZIP = (b'PK\x03\x04', b'PK\x05\x06')  # the second: without members
_METADATA = '__MACOSX'
_FORMATTED = {b'%PDF-': 'a PDF', b'{\\rtf': 'an RTF', b'\xd0\xcf\x11\xe0': 'an old Office'}
_ZIP_FORMATTED = {'[Content_Types].xml': 'an Office', 'mimetype': 'an OpenDocument or EPUB'}


def is_hidden(parts: tuple[str, ...]) -> bool:
    """Returns whether a path is hidden or metadata, such as `.ipynb_checkpoints/a.txt` or AppleDouble's `._a.txt`."""
    return any(part.startswith('.') or part == _METADATA for part in parts)


def read(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields `(name, content)` of each document in the file; messages use the name.

    Raises:
      InputError: the file cannot be read, is damaged, is a zip file without a text, or has markup instead of a text.
    """
    try:
        content = path.read_bytes()
        suffix = path.suffix.lower()
        if content.startswith(_ZIP) or suffix == '.zip':
            yield from _zip_members(path, content)
        elif content.startswith(_GZIP) or suffix == '.gz':
            yield str(path), gzip.decompress(content)
        else:
            for start, kind in _FORMATTED.items():
                if content.startswith(start):
                    raise _not_plain(path, kind)
            yield str(path), content
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


def _zip_members(path: pathlib.Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields the texts in the order of their names. Of two members with one name the last counts, as for `unzip`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = sorted({name for name in archive.namelist() if _is_text(name)})
        if not names:
            for name, kind in _ZIP_FORMATTED.items():
                if name in archive.namelist():
                    raise _not_plain(path, kind)
            raise InputError(f'{path} contains no .txt file, only: {", ".join(archive.namelist()[:5]) or "nothing"}.')
        for name in names:
            yield f'{path}/{name}', archive.read(name)


def _not_plain(path: pathlib.Path, kind: str) -> InputError:
    return InputError(f'{path} is {kind} file, not plain text: save it as a .txt file and give that.')


def _is_text(name: str) -> bool:
    return name.lower().endswith('.txt') and not is_hidden(pathlib.PurePosixPath(name).parts)
