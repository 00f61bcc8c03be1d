"""Reads a corpus as one string: a known name, a file, a folder, a glob, `.zip`, `.gz` or a URL."""

import codecs
import difflib
import glob
import gzip
import hashlib
import lzma
import pathlib
import re
import zipfile
import zlib
from collections.abc import Iterator

from data.download import Remote, fetch, remote_from_url
from data.errors import InputError

BUNDLED = {'lyrics': pathlib.Path(__file__).parent / 'corpora' / 'lyrics.txt'}
REMOTE = {
    'jaychou': Remote(
        'https://raw.githubusercontent.com/d2l-ai/d2l-zh/v1/data/jaychou_lyrics.txt.zip',
        'jaychou_lyrics.txt.zip',
        ('sha256', '3cfedd7d174111cdad5a27eaffaa6a2432a2842cf2590a03dd8a97610ea07043'),
    ),
    'time_machine': Remote(
        'http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt',
        'timemachine.txt',
        ('sha1', '090b5e7e70c295757f55df93cb0a180b9691891a'),
    ),
}
NAMES = (*BUNDLED, *REMOTE)

_FOLDER_SUFFIXES = ('.txt', '.gz', '.zip')
_LIKELY_ENCODINGS = ('utf-8', 'gb18030', 'big5', 'shift_jis', 'euc_kr', 'cp1252')


def load(corpus: str, *, encoding: str = 'utf-8', newlines: str = 'space', max_characters: int = 0) -> str:
    r"""Reads the whole corpus as one normalised string.

    Args:
      corpus: a name in `NAMES`, an http(s) URL, a file (`.zip`: its `.txt` members; `.gz`: decompressed), a folder (all
        `.txt`, `.gz` and `.zip` files in it and its subfolders, in the order of their names) or a glob.
      encoding: the name of a Python text encoding; a byte order mark at the start is removed.
      newlines: `space` turns each `\n` and each `\r` into one space, as the book's section does; `keep` keeps every
        line break as one `\n`.
      max_characters: the number of characters to take from the start, after normalisation; 0 takes all.

    Raises:
      InputError: there is no such corpus, it is empty, or `encoding` cannot decode it, or is not the encoding of a
        known corpus.
    """
    if corpus in NAMES and not _is_utf_8(encoding):
        raise InputError(f'encoding={encoding!r} does not go with corpus={corpus}, which is UTF-8: leave encoding out.')
    documents = [_decode(content, encoding, label) for path in _paths(corpus) for label, content in _documents(path)]
    text = _normalise('\n'.join(documents), newlines)[: max_characters or None]
    if not text.strip():
        raise InputError(f'corpus {corpus!r} is empty or has only white space. Give another --corpus.')
    return text


def text_sha256(text: str) -> str:
    """Returns the SHA-256 of `text` in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _paths(corpus: str) -> list[pathlib.Path]:
    if corpus in BUNDLED:
        return [BUNDLED[corpus]]
    try:
        if corpus in REMOTE:
            return [fetch(REMOTE[corpus])]
        if corpus.lower().startswith(('http://', 'https://')):
            return [fetch(remote_from_url(corpus))]
        found = _local_paths(pathlib.Path(corpus).expanduser()) if corpus else []
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such ~user, a NUL in it
        raise InputError(f'corpus {corpus[:50]!r} is not a valid path: {error}.') from error
    if not found:
        raise InputError(_not_found(corpus))
    return found


def _local_paths(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the file itself, or the files of a folder or glob in the order of their names."""
    if path.is_dir():
        found = sorted(p for p in path.rglob('*') if p.suffix.lower() in _FOLDER_SUFFIXES and p.is_file())
        if not found:
            raise InputError(
                f'corpus folder {str(path)!r} contains no {", ".join(_FOLDER_SUFFIXES)} file. Name a file or a glob.'
            )
        return found
    if path.exists():
        return [path]
    return sorted(pathlib.Path(p) for p in glob.glob(str(path), recursive=True) if pathlib.Path(p).is_file())


def _not_found(corpus: str) -> str:
    siblings = [p.name for p in pathlib.Path().glob('*.txt')]
    close = difflib.get_close_matches(corpus, [*NAMES, *siblings], n=1)
    hint = f' Did you mean {close[0]}?' if close else ''
    return (
        f'corpus {corpus!r} is not a file, a folder, a glob that matches a file, an http(s) URL or a known name '
        f'({", ".join(NAMES)}).{hint}'
    )


def _documents(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields `(name, bytes)` of each text in the file; messages use the name."""
    try:
        if path.suffix.lower() == '.zip':
            yield from _zip_members(path)
        elif path.suffix.lower() == '.gz':
            yield str(path), gzip.decompress(path.read_bytes())
        else:
            yield str(path), path.read_bytes()
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


def _zip_members(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if _is_text_member(name))
        if not names:
            raise InputError(f'{path} contains no .txt file, only: {", ".join(archive.namelist()[:5]) or "nothing"}.')
        for name in names:
            yield f'{path}/{name}', archive.read(name)


def _is_text_member(name: str) -> bool:
    return name.lower().endswith('.txt') and not name.startswith('__MACOSX/')  # metadata of macOS


def _is_utf_8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == 'utf-8'
    except (LookupError, ValueError):
        return False


def _decode(content: bytes, encoding: str, label: str) -> str:
    if encoding.lower().replace('_', '-') == 'utf-8-sig':
        encoding = 'utf-8'  # its error offsets include the byte order mark
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f'{label} is not {encoding}: byte {content[error.start]:#04x} at offset {error.start:,} cannot be decoded. '
            f'{_advice(content, encoding)}'
        ) from error
    except (LookupError, ValueError) as error:
        raise InputError(f'encoding {encoding!r} is not one that Python can decode. Try utf-8 or gb18030.') from error
    if '\0' in text:
        offset = len(text[: text.index('\0')].encode(encoding))
        raise InputError(f'{label} has a NUL character at byte {offset:,} in {encoding}. {_advice(content, encoding)}')
    if half := re.search('[\ud800-\udfff]', text):  # a lone surrogate is not a character
        raise InputError(
            f'{label} has a lone surrogate (U+{ord(half[0]):04X}) in {encoding}. {_advice(content, encoding)}'
        )
    return text.removeprefix('\ufeff')


def _advice(content: bytes, refused: str) -> str:
    """Returns advice that names an encoding that can decode the bytes, if there is one."""
    for encoding in _likely_encodings(content):
        if encoding != refused and _reads(content, encoding):
            return f'Try --encoding={encoding}.'
    return 'The file may be damaged, or is not a text.'


def _likely_encodings(content: bytes) -> tuple[str, ...]:
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return ('utf-32',)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ('utf-16',)
    if b'\0' in content:
        return ('utf-16-le',) if content.index(b'\0') % 2 else ('utf-16-be',)  # the high byte of an ASCII character
    return _LIKELY_ENCODINGS


def _reads(content: bytes, encoding: str) -> bool:
    try:
        return '\0' not in content.decode(encoding)
    except UnicodeDecodeError:
        return False


def _normalise(text: str, newlines: str) -> str:
    if newlines == 'keep':
        return text.replace('\r\n', '\n').replace('\r', '\n')
    return text.replace('\n', ' ').replace('\r', ' ')
