"""Paths that users name, and files that appear complete or not at all."""

import os

import pytest

from data.errors import InputError
from data.files import tensorflow_path, user_path, write_whole


def test_home_directory_is_expanded(monkeypatch):
    monkeypatch.setenv('HOME', '/home/someone')
    assert str(user_path('run_dir', '~/x')) == str(tensorflow_path('run_dir', '~/x')) == '/home/someone/x'
    assert str(user_path('run_dir', 'a/~')) == 'a/~'
    with pytest.raises(InputError, match=r"prefix_file='~nobody-here/x' cannot be expanded"):
        user_path('prefix_file', '~nobody-here/x')


@pytest.mark.parametrize('value', ['x' * 256, 'a/' * 3000, 'a\0b', 'loop/a'])
def test_path_where_no_file_can_be_is_refused(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'loop').symlink_to('loop')
    with pytest.raises(InputError, match=r'^run_dir=.{3,60} is not a path that can be used: .*\. Use another\.$'):
        tensorflow_path('run_dir', value)


def test_path_where_a_file_can_be_made_is_accepted(tmp_path):
    (tmp_path / 'file').write_text('')
    for name in ('file', 'new', 'new/new', 'x' * 255, 'file/new'):
        assert user_path('out', str(tmp_path / name)) == tmp_path / name


@pytest.mark.parametrize('value', ['novel [1999]', 'a?', '*', 'a\\b', '~/a]'])
def test_pattern_characters_in_a_directory_for_tensorflow_are_refused(value):
    with pytest.raises(InputError, match=r'model_dir=.* contains .*TensorFlow reads .* as a pattern'):
        tensorflow_path('model_dir', value)
    assert user_path('model_dir', value)


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
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_a_user_named_part_is_kept(tmp_path):
    (tmp_path / 'a.json.part').write_text("a user's")
    write_whole(tmp_path / 'a.json', 'new')
    assert (tmp_path / 'a.json.part').read_text() == "a user's"
