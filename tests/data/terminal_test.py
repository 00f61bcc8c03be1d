"""Control characters of texts on a terminal, and unchanged texts everywhere else."""

import io

import pytest

from data.terminal import shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('\x1b[2J\x07', r'\x1b[2J\x07'),
        ('a\rb\x7f', r'a\x0db\x7f'),
        ('\x9b31m', r'\x9b31m'),
        ('\u202etxt.exe\u2069', r'\u202etxt.exe\u2069'),
        ('分\n\t开 é 🎵', '分\n\t开 é 🎵'),
    ],
)
def test_terminal_gets_control_characters_escaped(text, expected):
    assert shown(text, _Terminal()) == expected
    assert shown(text, io.StringIO()) == text
