"""Which versions answer, and when they are loaded: a manager with a clock of the test's, and text files for models."""

import gc
import itertools
import os
import pathlib
import shutil
import weakref

import pytest

from data.errors import InputError
from export.server.errors import ServingError
from export.server.models.config import ModelConfig
from export.server.models.manager import Manager, State
from export.server.predictor import specification

_TIMES = itertools.count(1)


class Loaded:
    """In place of a servable: what `load` was called with."""

    def __init__(self, name, version, directory):
        content = (directory / 'saved_model.pb').read_text()
        if not content.startswith('good'):
            raise ValueError(f'{content}\nand a second line')
        self.version, self.content = version, content


class Clock:
    """Seconds, as the test sets them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(tmp_path, clock):
    """`watch(**policy)` -> a manager of the model `m` in tmp_path; its `lines` are what it has reported."""

    def make(**policy):
        lines = []
        config = ModelConfig('m', tmp_path, **policy)
        manager = Manager(
            [config], Loaded, max_num_load_retries=2, load_retry_interval=60, clock=clock, report=lines.append
        )
        manager.lines = lines
        return manager

    return make


def _put(directory, version, content='good'):
    (directory / version).mkdir()
    (directory / version / 'saved_model.pb').write_text(content)


def _replace(directory, version, content):
    """As a new export into the removed folder does, and as fast as no file system counts its time."""
    shutil.rmtree(directory / version)
    _put(directory, version, content)
    os.utime(directory / version / 'saved_model.pb', ns=(0, next(_TIMES)))


def _states(manager):
    return {s.version: State.Name(s.state) for s in manager.status(specification('m')).model_version_status}


def _answering(manager, **which):
    with manager.lease(specification('m', **which)) as servable:
        return servable.version


def _content(manager):
    with manager.lease(specification('m')) as servable:
        return servable.content


def test_newest_version_takes_over_and_old_requests_finish(watch, tmp_path):
    _put(tmp_path, '2')
    manager = watch()
    manager.poll()
    with manager.lease(specification('m')) as old:
        _put(tmp_path, '00000010')
        manager.poll()
        assert _answering(manager) == 10
        assert old.version == 2
        assert _states(manager) == {10: 'AVAILABLE', 2: 'UNLOADING'}
        with pytest.raises(ServingError, match=r'Specific\(m, 2\)'):
            _answering(manager, version=2)
    kept = weakref.ref(old)
    del old
    manager.poll()
    gc.collect()
    assert kept() is None
    assert _states(manager) == {10: 'AVAILABLE', 2: 'END'}


def test_all_versions(watch, tmp_path):
    manager = watch(latest=None)
    for version in ('1', '3'):
        _put(tmp_path, version)
    (tmp_path / 'writing-xyz').mkdir()
    manager.poll()
    assert manager.available('m') == [1, 3]
    assert _answering(manager) == 3
    assert _answering(manager, version=1) == 1


def test_specific_versions_and_labels(watch, tmp_path):
    manager = watch(latest=None, specific=(1, 2), labels={'stable': 1, 'canary': 4})
    for version in ('1', '2', '3'):
        _put(tmp_path, version)
    manager.poll()
    assert manager.available('m') == [1, 2]
    assert _answering(manager, label='stable') == 1
    with pytest.raises(ServingError, match=r'Specific\(m, 4\)'):
        _answering(manager, label='canary')


def test_broken_version_is_retried_and_again_after_a_change(watch, tmp_path, clock):
    _put(tmp_path, '1')
    _put(tmp_path, '2', 'broken')
    manager = watch()
    attempts = itertools.count(1)
    manager._load = lambda *args, load=manager._load: (next(attempts), load(*args))[1]
    manager.poll()
    assert manager.available('m') == []  # the newest is the one that is wanted
    (status,) = manager.status(specification('m')).model_version_status
    assert (status.state, status.status.error_code, status.status.error_message) == (State.END, 2, 'broken')
    for clock.now in (59, 60, 120, 180, 240):
        manager.poll()
    assert next(attempts) == 4  # the first time and two retries
    (tmp_path / '2' / 'saved_model.pb').write_text('good')
    manager.poll()
    assert _answering(manager) == 2


def test_version_stays_if_its_successor_is_broken_or_its_folder_is_deleted(watch, tmp_path):
    _put(tmp_path, '1')
    manager = watch()
    manager.poll()
    _put(tmp_path, '2', 'broken')
    manager.poll()
    assert _answering(manager) == 1
    assert _states(manager) == {2: 'END', 1: 'AVAILABLE'}
    for version in ('1', '2'):
        shutil.rmtree(tmp_path / version)
    manager.poll()
    assert _answering(manager) == 1
    assert _states(manager) == {1: 'AVAILABLE'}


def test_removing_the_newest_version_goes_back_to_the_one_before(watch, tmp_path):
    for version in ('1', '2'):
        _put(tmp_path, version)
    manager = watch()
    manager.poll()
    shutil.rmtree(tmp_path / '2')
    manager.poll()
    assert _answering(manager) == 1


def test_replacement_of_the_same_number_takes_over(watch, tmp_path):
    _put(tmp_path, '1', 'good, old')
    manager = watch()
    manager.poll()
    with manager.lease(specification('m')) as old:
        (tmp_path / '1').rename(tmp_path / 'away')
        manager.poll()
        assert _content(manager) == 'good, old'
        (tmp_path / 'away').rename(tmp_path / '1')
        manager.poll()
        assert _content(manager) == 'good, old'
        _replace(tmp_path, '1', 'good, new')
        manager.poll()
        assert _content(manager) == 'good, new'
        assert old.content == 'good, old'
        assert manager.lines == ['m version 1 is available', 'm version 1 is available, replaced']
    kept = weakref.ref(old)
    del old
    manager.poll()
    gc.collect()
    assert kept() is None
    assert _states(manager) == {1: 'AVAILABLE'}
    assert manager.lines[2:] == ['m version 1, the replaced one, is unloaded']


def test_change_of_other_files_is_not_a_new_version(watch, tmp_path):
    _put(tmp_path, '1')
    (tmp_path / '1' / 'variables').touch()
    manager = watch()
    manager.poll()
    (tmp_path / '1' / 'variables').write_text('other')
    manager.poll()
    for name in ('variables', 'saved_model.pb'):
        (tmp_path / '1' / name).unlink()
        manager.poll()
    assert manager.lines == ['m version 1 is available']


def test_inode_of_a_removed_version_may_be_reused(watch, tmp_path):
    _put(tmp_path, '1', 'good, old')
    manager = watch()
    manager.poll()
    path = tmp_path / '1' / 'saved_model.pb'
    path.write_text('good, new')  # the same file as before by its number and size
    os.utime(path, ns=(0, 0))
    manager.poll()
    assert _content(manager) == 'good, new'


def test_broken_replacement_is_reported_and_retried_and_the_old_version_stays(watch, tmp_path, clock):
    _put(tmp_path, '1', 'good, old')
    shutil.copytree(tmp_path / '1', tmp_path / 'kept')
    manager = watch()
    manager.poll()
    _replace(tmp_path, '1', 'broken')
    for clock.now in (0, 59, 60, 120, 180, 240):
        manager.poll()
        assert _content(manager) == 'good, old'
    line = 'm version 1 was replaced by one that cannot be served; the old one still answers: broken'
    assert manager.lines == ['m version 1 is available', *[line] * 3]  # the first time and two retries
    (status,) = manager.status(specification('m')).model_version_status
    assert (status.state, status.status.error_message) == (State.AVAILABLE, line)
    _replace(tmp_path, '1', 'good, new')
    manager.poll()
    assert _content(manager) == 'good, new'
    assert not manager.problem('m')


def test_version_restored_after_a_broken_replacement_has_no_error(watch, tmp_path):
    _put(tmp_path, '1')
    manager = watch()
    manager.poll()
    (tmp_path / '1').rename(tmp_path / 'kept')
    _put(tmp_path, '1', 'broken')
    manager.poll()
    assert manager.problem('m')
    shutil.rmtree(tmp_path / '1')
    (tmp_path / 'kept').rename(tmp_path / '1')
    manager.poll()
    assert not manager.problem('m')
    assert _states(manager) == {1: 'AVAILABLE'}


def test_corrected_permissions_are_noticed(watch, tmp_path):
    """A change of permissions alters neither a file's size nor its time."""
    _put(tmp_path, '1')
    path = tmp_path / '1' / 'saved_model.pb'
    path.chmod(0)
    manager = watch()

    def load(*args):
        if not path.stat().st_mode & 0o400:  # root may read it all the same
            raise PermissionError(path)
        return Loaded(*args)

    manager._load = load
    manager.poll()
    manager.poll()
    assert manager.available('m') == []
    assert len(manager.lines) == 1
    path.chmod(0o600)
    manager.poll()
    assert manager.available('m') == [1]


def test_requests_do_not_wait_for_the_disk(watch, tmp_path, monkeypatch):
    """The lock that each request takes is free whenever a file is looked at."""
    manager = watch()
    held, stat = [], pathlib.Path.stat

    def spy(path, **options):
        held.append(manager._lock.locked())
        return stat(path, **options)

    monkeypatch.setattr(pathlib.Path, 'stat', spy)
    _put(tmp_path, '1')
    manager.poll()
    _put(tmp_path, '2', 'broken')
    manager.poll()
    before = len(held)
    manager.poll()
    assert len(held) > before
    assert not any(held)


def test_unreadable_folder_affects_no_loaded_version_and_no_other_model(tmp_path, watch):
    _put(tmp_path, '1')
    manager = watch()
    unreadable = tmp_path / ('n' * 300)  # longer than a name may be
    manager._models = {'x': ModelConfig('x', unreadable)} | manager._models
    manager._versions['x'] = {}
    with pytest.raises(InputError, match=f'{unreadable} cannot be read'):
        manager.poll()
    assert manager.available('m') == [1]
    manager._models['m'] = ModelConfig('m', unreadable)
    with pytest.raises(InputError):
        manager.poll()
    assert manager.available('m') == [1]
