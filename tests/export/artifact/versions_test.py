"""Version directories: listing, adding and removing, without an incomplete version ever being visible."""

import os
import pathlib
import threading

import pytest

from data.errors import InputError
from export.artifact import versions


def _folders(model_dir: pathlib.Path, *names: str) -> None:
    for name in names:
        (model_dir / name).mkdir()
        (model_dir / name / versions.SAVED_MODEL).write_text(name)


def test_versions_are_the_directories_whose_names_are_integers(tmp_path):
    _folders(tmp_path, '9', '00000123', '10', 'notes', 'writing-3', '1a', '-4', '７')
    (tmp_path / '500').write_text('not a directory')
    assert list(versions.versions(tmp_path)) == [9, 10, 123]
    assert versions.newest_version(tmp_path) == tmp_path / '00000123'


def test_newest_version_is_the_directory_itself_or_an_error_if_there_is_none(tmp_path):
    with pytest.raises(InputError, match='holds no exported model'):
        versions.newest_version(tmp_path)
    _folders(tmp_path, '3')
    assert versions.newest_version(tmp_path / '3') == tmp_path / '3'


def test_next_version_is_above_all_existing_ones(tmp_path):
    _folders(tmp_path, '2', '00000123', 'aside')
    (tmp_path / '124').write_text('not a directory')
    assert versions.add(tmp_path / 'aside', tmp_path).name == '125'


def test_number_above_int64_is_not_a_version(tmp_path):
    _folders(tmp_path, '7', '9223372036854775808', 'aside', 'another')
    assert list(versions.versions(tmp_path)) == [7]
    assert versions.add(tmp_path / 'aside', tmp_path).name == '8'
    _folders(tmp_path, '9223372036854775807')
    assert versions.newest_version(tmp_path).name == '9223372036854775807'
    with pytest.raises(InputError, match='has version 9223372036854775807, the largest possible: remove it'):
        versions.add(tmp_path / 'another', tmp_path)


@pytest.mark.parametrize('read', [versions.versions, versions.newest_version, versions.is_version])
def test_unreadable_directory_is_not_taken_for_an_empty_one(tmp_path, read):
    with pytest.raises(InputError, match=f'^{tmp_path}/n* cannot be read: .*too long'):
        read(tmp_path / ('n' * 300))
    (tmp_path / '3').symlink_to('n' * 300)
    if read is not versions.is_version:
        with pytest.raises(InputError, match=f'^{tmp_path} cannot be read: .*/3'):
            read(tmp_path)


def test_forbidden_directory_is_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    for name in ('listdir', 'scandir'):  # permissions do not stop root
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(InputError, match=r'cannot be read: .*Permission denied'):
        versions.versions(tmp_path)


def test_missing_directories_and_files_hold_no_version(tmp_path):
    (tmp_path / '3').symlink_to('nowhere')
    (tmp_path / '4').symlink_to('4')
    (tmp_path / 'file').touch()
    for path in (tmp_path, tmp_path / 'none', tmp_path / 'file'):
        assert versions.versions(path) == {}
        assert not versions.is_version(path)


def test_simultaneous_exports_get_a_version_each(tmp_path, monkeypatch):
    """All of them list the versions before any of them renames."""
    number, list_versions = 8, versions.versions
    _folders(tmp_path, '4', *(f'aside-{n}' for n in range(number)))
    barrier = threading.Barrier(number)

    def list_together(model_dir):
        found = list_versions(model_dir)
        barrier.wait(timeout=60)
        return found

    monkeypatch.setattr(versions, 'versions', list_together)
    threads = [threading.Thread(target=versions.add, args=(tmp_path / f'aside-{n}', tmp_path)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    contents = {path.name: (path / versions.SAVED_MODEL).read_text() for path in tmp_path.iterdir()}
    assert sorted(contents, key=int) == [str(n) for n in range(4, 5 + number)]
    assert set(contents.values()) == {'4'} | {f'aside-{n}' for n in range(number)}


def test_oldest_versions_and_only_versions_are_removed(tmp_path):
    _folders(tmp_path, '9', '10', '0011', '12', 'notes', 'writing-3')
    assert [path.name for path in versions.remove_old(tmp_path, 2)] == ['9', '10']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['0011', '12', 'notes', 'writing-3']


@pytest.mark.parametrize('keep', [0, 3, 4])
def test_nothing_is_removed_if_all_versions_are_kept(tmp_path, keep):
    _folders(tmp_path, '1', '2', '3')
    assert versions.remove_old(tmp_path, keep) == []
    assert list(versions.versions(tmp_path)) == [1, 2, 3]


def test_removed_version_is_invisible_before_it_loses_a_file(tmp_path, monkeypatch):
    _folders(tmp_path, '1', '2', '3')
    seen, remove = [], versions.shutil.rmtree

    def record_and_remove(path, *rest, **options):
        seen.append(list(versions.versions(tmp_path)))
        remove(path, *rest, **options)

    monkeypatch.setattr(versions.shutil, 'rmtree', record_and_remove)
    versions.remove_old(tmp_path, 1)
    assert seen == [[2, 3], [3]]


def test_old_version_is_removed_by_one_of_two_exports(tmp_path, monkeypatch):
    """The slower export lists the versions before the faster one removes them."""
    _folders(tmp_path, '1', '2', '3')
    found = versions.versions(tmp_path)
    assert [path.name for path in versions.remove_old(tmp_path, 1)] == ['1', '2']
    monkeypatch.setattr(versions, 'versions', lambda model_dir: found)
    assert versions.remove_old(tmp_path, 1) == []
    assert [path.name for path in tmp_path.iterdir()] == ['3']


def test_version_that_cannot_be_removed_is_named_and_stays_unchanged(tmp_path, monkeypatch):
    _folders(tmp_path, '1', '2')

    def refuse(path, target):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(pathlib.Path, 'rename', refuse)
    with pytest.raises(InputError, match=r'/1 cannot be removed: .*Permission denied.* by hand'):
        versions.remove_old(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['1', '2']
