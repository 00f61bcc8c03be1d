"""Prefixes from a file."""

import sys

import pytest

from data.errors import InputError
from export.client.prefixes import read_prefixes


@pytest.mark.parametrize('end', ['\n', '\r\n'])
@pytest.mark.parametrize('last_end', [True, False])
def test_prefixes_are_the_lines_unchanged(tmp_path, end, last_end):
    lines = ['分', ' 开 ', 'a,"b"']
    content = '\ufeff' + f'{end}\ufeff'.join(lines) + end * last_end
    (tmp_path / 'prefixes.txt').write_bytes(content.encode())
    assert read_prefixes(str(tmp_path / 'prefixes.txt')) == lines


def test_home_directory_in_the_path_is_expanded(tmp_path, monkeypatch):
    (tmp_path / 'prefixes.txt').write_text('分', 'utf-8')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert read_prefixes('~/prefixes.txt') == ['分']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, r"prefix_file='.*prefixes.txt' cannot be read: No such file"),
        (b'', 'on each line, but line 1 is empty'),
        (b'a\n\nb\n', 'on each line, but line 2 is empty'),
        ('分\n'.encode() + '分'.encode('gb18030'), 'must be UTF-8, but line 2 is not'),
    ],
)
def test_unusable_file_is_an_error(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'prefixes.txt').write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_prefixes(str(tmp_path / 'prefixes.txt'))


def test_closed_stdin_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, 'stdin', None)  # as Python sets it after `<&-`
    with pytest.raises(InputError, match=r"^prefix_file='-' cannot be read: stdin is closed\."):
        read_prefixes('-')
