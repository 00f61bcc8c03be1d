"""Prefixes from a file."""

import sys

from data.encodings import without_byte_order_marks
from data.errors import InputError
from data.files import user_path


def read_prefixes(path: str) -> list[str]:
    """Returns the lines of a file (`-`: stdin) without their line ends and byte order marks.

    Raises:
      InputError: the file cannot be read or is not UTF-8, or a line is empty.
    """
    if path == '-' and sys.stdin is None:  # closed, as by `<&-`
        raise InputError("prefix_file='-' cannot be read: stdin is closed. Name a file, or leave stdin open.")
    try:
        content = sys.stdin.buffer.read() if path == '-' else user_path('prefix_file', path).read_bytes()
        text = without_byte_order_marks(content.decode())
    except OSError as error:
        raise InputError(f'prefix_file={path!r} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        line = error.object.count(b'\n', 0, error.start) + 1
        raise InputError(f'prefix_file={path!r} must be UTF-8, but line {line} is not.') from error
    lines = [line.removesuffix('\r') for line in text.removesuffix('\n').split('\n')]
    if '' in lines:
        number = lines.index('') + 1
        raise InputError(f'prefix_file={path!r} must have a prefix on each line, but line {number} is empty.')
    return lines
