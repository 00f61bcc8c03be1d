"""Decodes the bytes of a text. Bytes that cannot be decoded give an error that names encodings to try."""

import codecs
import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Protocol

from data.errors import InputError

ERRORS = ('strict', 'replace')

_CANDIDATES = (  # of equally plausible ones the first is named first
    *('gb18030', 'big5', 'shift_jis', 'euc_jp', 'euc_kr'),
    *('cp1252', 'cp1251', 'cp1250', 'cp1253', 'cp1254', 'cp1255', 'cp1256', 'cp874'),
    *('koi8_r', 'cp866', 'iso8859_2'),
)
_MOST_CANDIDATES = 3
_CHUNK = 1 << 20  # bytes
_BYTE_ORDERS = {
    'utf-16': {codecs.BOM_UTF16_LE: 'le', codecs.BOM_UTF16_BE: 'be'},
    'utf-32': {codecs.BOM_UTF32_LE: 'le', codecs.BOM_UTF32_BE: 'be'},
}
_LONGEST_MARK = 4  # bytes
_MOST_ADVISED = 1 << 24  # bytes of a document that advice is based on
_DAMAGED_THERE = (
    'All before it can be decoded, so the file is damaged there. Repair it, or add --encoding_errors=replace, which '
    'reads each such place as U+FFFD.'
)
_SAMPLE = 1 << 16  # bytes
_EXCERPT = 12  # characters on each side
_DAMAGED = 10  # valid characters beyond ASCII for each invalid sequence: then the text is UTF-8, but damaged
_NUL_FRACTION = 0.05  # fewer NULs, or NULs at even and odd offsets, are stray bytes and not UTF-16


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes: ...


def is_utf_8(encoding: str) -> bool:
    """Returns whether `encoding` is a name of UTF-8."""
    try:
        return codecs.lookup(encoding).name == 'utf-8'
    except (LookupError, ValueError):
        return False


def decode(document: Readable, label: str, encoding: str, errors: str = 'strict') -> Iterator[str]:
    """Yields the text in `document` in pieces, without byte order marks.

    Args:
      document: a stream of bytes.
      label: its name in messages.
      encoding: a Python text encoding.
      errors: one of `ERRORS`; `replace` reads each invalid byte sequence as U+FFFD.

    Raises:
      InputError: Python has no such encoding, it cannot decode the content, or the text contains NUL or a lone
        surrogate.
    """
    if encoding.lower().replace('_', '-') == 'utf-8-sig':
        encoding = 'utf-8'  # its error offsets include the byte order mark
    _check_encoding(encoding)
    content = document.read(_LONGEST_MARK)
    codec = _codec(encoding, content)
    decoder = codecs.getincrementaldecoder(codec)(errors)
    head = b''  # for advice
    num_read, is_last = 0, False  # bytes
    while not is_last:
        offset = num_read - len(decoder.getstate()[0])  # of the first byte that is not decoded
        content = document.read(_CHUNK) if num_read else content
        num_read, is_last = num_read + len(content), not content
        if len(head) < _MOST_ADVISED:
            head += content
        try:
            text = _checked(decoder.decode(content, is_last), encoding, codec, offset)
        except UnicodeDecodeError as error:
            at = offset + error.start
            problem = f'is not {encoding}: byte {error.object[error.start]:#04x} at offset {at:,} cannot be decoded.'
        except _NotText as error:
            at, problem = error.args
        else:
            yield without_byte_order_marks(text)
            continue
        head += document.read(max(_MOST_ADVISED - len(head), 0))
        raise InputError(f'{label} {problem} {_advice(head, encoding) if at < len(head) else _DAMAGED_THERE}')


class _NotText(Exception):  # noqa: N818 - not an error of its own
    """A character that no text contains: its offset in bytes, and what is wrong."""


def _checked(text: str, encoding: str, codec: str, offset: int) -> str:
    """Returns `text`, which begins at byte `offset`. Raises `_NotText` if it has NUL or a lone surrogate."""
    if '\0' in text:
        at = offset + len(text[: text.index('\0')].encode(codec, 'replace'))
        raise _NotText(at, f'has a NUL character at byte {at:,} in {encoding}.')
    if half := re.search('[\ud800-\udfff]', text):  # not a character
        raise _NotText(offset, f'has a lone surrogate (U+{ord(half[0]):04X}) in {encoding}.')
    return text


def _codec(encoding: str, start: bytes) -> str:
    """Returns the codec of a document that begins with `start`; UTF-16 and UTF-32 have one for each byte order.

    Without a byte order mark, that of the machine is taken, as `bytes.decode` does.
    """
    name = codecs.lookup(encoding).name
    for mark, order in _BYTE_ORDERS.get(name, {}).items():
        if start.startswith(mark):
            return f'{name}-{order}'
    return f'{name}-{sys.byteorder[0]}e' if name in _BYTE_ORDERS else name


def _check_encoding(encoding: str) -> None:
    """Raises `InputError` if Python cannot decode `encoding`."""
    try:
        with contextlib.suppress(UnicodeDecodeError):
            b' '.decode(encoding)  # refuses codecs of other things than text
        codecs.getincrementaldecoder(encoding)
        if codecs.lookup(encoding).name == 'idna':
            raise LookupError('it is for names of hosts')
    except (LookupError, ValueError) as error:
        raise InputError(f'encoding {encoding!r} is not one that Python can decode. Try utf-8 or gb18030.') from error


def without_byte_order_marks(text: str) -> str:
    """Removes U+FEFF everywhere: concatenated files have it in the middle, and nobody can see it."""
    return text.replace('\ufeff', '')


def candidates(content: bytes) -> list[str]:
    """Returns the most plausible encodings that can decode all of `content`, the most plausible first."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        likely = ['utf-32']
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        likely = ['utf-16']
    elif content.startswith(codecs.BOM_UTF8):
        likely = ['utf-8']
    elif b'\0' in content:
        likely = _utf_16(content)
    elif _decodes(content, 'utf-8'):
        likely = ['utf-8']
    else:
        likely = _plausible(content)
    return [encoding for encoding in likely if _decodes(content, encoding)][:_MOST_CANDIDATES]


def _utf_16(content: bytes) -> list[str]:
    """Returns the byte order of UTF-16 without a mark: in an ASCII character the high byte is NUL."""
    even, odd = content[::2].count(b'\0'), content[1::2].count(b'\0')
    if max(even, odd) < _NUL_FRACTION * len(content) or min(even, odd) > _NUL_FRACTION * max(even, odd):
        return []
    return ['utf-16-le' if odd > even else 'utf-16-be']


def _plausible(content: bytes) -> list[str]:
    """Ranks `_CANDIDATES` with charset-normalizer: by disorder, then by the letter frequencies of languages."""
    import charset_normalizer  # needed for errors only, and --help should be instant

    matches = charset_normalizer.from_bytes(_sample(content), cp_isolation=list(_CANDIDATES))
    coherent = max((match.coherence for match in matches), default=0) / 2
    ranked = []
    for match in matches:
        # Each match represents all encodings that give the same text.
        names = [name for name in _CANDIDATES if name in match.could_be_from_charset]
        if names and match.coherence >= coherent:
            ranked.append((round(match.chaos, 2), -match.coherence, _CANDIDATES.index(names[0]), names[0]))
    return [name for *_, name in sorted(ranked)] or ['cp1252']


def _sample(content: bytes) -> bytes:
    """Returns lines that have a byte beyond ASCII, from the start, about `_SAMPLE` bytes of them."""
    found, size = [], 0
    for line in content.splitlines():
        if size < _SAMPLE and not line.isascii():
            found.append(line)
            size += len(line)
    return b'\n'.join(found)


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        return '\0' not in content.decode(encoding)
    except UnicodeDecodeError:
        return False


def _advice(content: bytes, refused: str) -> str:
    """Returns what to do about content that is not a text in the encoding `refused`."""
    if is_utf_8(refused) and (damage := _damage(content)):
        return damage
    found = [encoding for encoding in candidates(content) if encoding != refused]
    if not found:
        return 'The file may be damaged, or is not a text.'
    readings = [f'--encoding={encoding}, which reads {_excerpt(content, encoding)}' for encoding in found]
    choose = ' Use the one that reads well.' if len(found) > 1 else ''
    return f'Try {"; or ".join(readings)}.{choose}'


def _damage(content: bytes) -> str | None:
    """Returns advice if the content is UTF-8 with a few invalid bytes; else None."""
    text = content.decode('utf-8', 'replace')
    invalid = text.count('\ufffd') - content.count('\ufffd'.encode())
    valid = sum(not character.isascii() for character in text) - invalid
    if not invalid or (valid < _DAMAGED * invalid and not content.startswith(codecs.BOM_UTF8)):
        return None
    line = text.count('\n', 0, text.index('\ufffd')) + 1
    return (
        f'Elsewhere the file is UTF-8, so it is damaged in {invalid:,} place{"s" if invalid > 1 else ""}, first in '
        f'line {line:,}. Repair it, or add --encoding_errors=replace, which reads each such place as U+FFFD.'
    )


def _excerpt(content: bytes, encoding: str) -> str:
    """Returns the surroundings of the first character beyond ASCII, in quotes."""
    text = ' '.join(without_byte_order_marks(content.decode(encoding)).split())
    middle = next((index for index, character in enumerate(text) if not character.isascii()), 0)
    return repr(text[max(0, middle - _EXCERPT) : middle + _EXCERPT])
