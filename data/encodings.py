"""Decodes the bytes of a text. Bytes that cannot be decoded give an error that names encodings to try."""

import codecs
import re

from data.errors import InputError

ERRORS = ('strict', 'replace')

_CANDIDATES = (  # of equally plausible ones the first is named first
    *('gb18030', 'big5', 'shift_jis', 'euc_jp', 'euc_kr'),
    *('cp1252', 'cp1251', 'cp1250', 'cp1253', 'cp1254', 'cp1255', 'cp1256', 'cp874'),
    *('koi8_r', 'cp866', 'iso8859_2'),
)
_MOST_CANDIDATES = 3
_SAMPLE = 1 << 16  # bytes
_EXCERPT = 12  # characters on each side
_DAMAGED = 10  # valid characters beyond ASCII for each invalid sequence: then the text is UTF-8, but damaged
_NUL_FRACTION = 0.05  # fewer NULs, or NULs at even and odd offsets, are stray bytes and not UTF-16


def is_utf_8(encoding: str) -> bool:
    """Returns whether `encoding` is a name of UTF-8."""
    try:
        return codecs.lookup(encoding).name == 'utf-8'
    except (LookupError, ValueError):
        return False


def decode(content: bytes, label: str, encoding: str, errors: str = 'strict') -> str:
    """Returns the text in `content`, without byte order marks.

    Args:
      content: of the file that messages call `label`.
      label: a name.
      encoding: a Python text encoding.
      errors: one of `ERRORS`; `replace` reads each invalid byte sequence as U+FFFD.

    Raises:
      InputError: Python has no such encoding, it cannot decode the content, or the text contains NUL or a lone
        surrogate.
    """
    if encoding.lower().replace('_', '-') == 'utf-8-sig':
        encoding = 'utf-8'  # its error offsets include the byte order mark
    try:
        text = content.decode(encoding, errors)
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
    return without_byte_order_marks(text)


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
    readings = [f'--encoding={encoding} reads {_excerpt(content, encoding)}' for encoding in found]
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
