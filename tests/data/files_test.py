"""Files that appear complete or not at all."""

import os

import pytest

from data.files import write_whole


def test_writes_utf8_and_replaces_the_file(tmp_path):
    path = tmp_path / 'a.json'
    for text in ('分开\n', 'b'):
        write_whole(path, text)
        assert path.read_bytes() == text.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    write_whole(path, 'old')

    def refuse(source, target):
        raise OSError('no space left')

    monkeypatch.setattr(os, 'replace', refuse)
    with pytest.raises(OSError, match='no space left'):
        write_whole(path, 'new')
    assert path.read_text() == 'old'
