"""Texts of others on a terminal: their control characters are shown, not obeyed."""

import re
from typing import TextIO

# C0 but tab and line feed, delete, C1, and the marks that change the direction of text.
_CONTROLS = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]')


def shown(text: str, stream: TextIO) -> str:
    r"""Returns `text` for `stream`: if that is a terminal, with control characters escaped, such as `\x1b`."""
    return _CONTROLS.sub(_escaped, text) if stream.isatty() else text


def _escaped(found: re.Match) -> str:
    return found[0].encode('ascii', 'backslashreplace').decode() if ord(found[0]) > 127 else f'\\x{ord(found[0]):02x}'
