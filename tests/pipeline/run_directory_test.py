"""The run directory: it says what a run is, and refuses another run in its place."""

import collections
import datetime
import errno
import fcntl
import itertools
import json
import os
import pathlib

import filelock
import pytest

from data.corpus import text_sha256
from data.errors import InputError
from data.vocabulary import Vocabulary
from pipeline import run_directory
from pipeline.config import Config
from tests.conftest import write_record

TEXT = 'a text\nof its own 分开'


@pytest.fixture
def run_dir(tmp_path):
    write_record(tmp_path, Config(), Vocabulary.from_text(TEXT), TEXT)
    return tmp_path


def test_record_is_read_as_it_was_written(run_dir):
    recorded = run_directory.read(run_dir)
    assert recorded.config == Config()
    assert recorded.vocabulary == Vocabulary.from_text(TEXT)
    assert dict(zip(recorded.vocabulary.characters, recorded.counts, strict=True)) == collections.Counter(TEXT)
    assert recorded.corpus_sha256 == text_sha256(TEXT)
    assert sorted(p.name for p in run_dir.iterdir()) == ['config.json', 'vocabulary.json']
    assert json.loads((run_dir / 'config.json').read_text())['versions'].keys() >= {'tensorflow', 'python'}


def test_same_run_may_resume_with_more_epochs(run_dir):
    longer = Config.from_dict({'num_epochs': 999, 'corpus': 'moved/elsewhere.txt'})
    run_directory.check_same(run_dir, run_directory.read(run_dir), longer, text_sha256(TEXT))


@pytest.mark.parametrize(
    ('values', 'text', 'message'),
    [
        ({'hidden_size': 64, 'seed': 1}, TEXT, '--hidden_size is 64, was 256; --seed is 1, was 0'),
        ({}, TEXT + '!', 'the text of --corpus=lyrics is not the text that the run began with'),
    ],
)  # fmt: skip
def test_different_run_is_refused_with_the_difference(run_dir, values, text, message):
    with pytest.raises(InputError, match=message):
        run_directory.check_same(run_dir, run_directory.read(run_dir), Config.from_dict(values), text_sha256(text))


@pytest.mark.parametrize('damage', ['', '{', '[]', '{"config": {"hidden_size": 0}}', '{"config": {"unheard": 1}}'])
def test_damaged_record_is_named(run_dir, damage):
    (run_dir / 'config.json').write_text(damage)
    with pytest.raises(InputError, match='cannot be read'):
        run_directory.read(run_dir)


@pytest.mark.parametrize(
    ('setting', 'problem'),
    [
        ('"hidden_size": 0', 'hidden_size=0 must be between'),
        ('"unheard": 1', "config has no field ['unheard']; it has"),
    ],
)
def test_recorded_setting_that_cannot_be_used_is_named(run_dir, setting, problem):
    (run_dir / 'config.json').write_text(f'{{"config": {{{setting}}}}}')
    with pytest.raises(InputError) as caught:
        run_directory.read(run_dir)
    assert str(caught.value).startswith(f'run_dir {str(run_dir)!r} cannot be read: {problem}')
    assert str(caught.value).endswith('. Use another --run_dir.')


def test_unwritable_run_dir_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=r'file/run.* cannot be written'):
        write_record(tmp_path / 'file' / 'run', Config(), Vocabulary.from_text(TEXT), TEXT)


def _refuse_from(monkeypatch, number: int) -> None:
    """Lets no file be put in its place from the `number`th on, counted from 0."""
    replace, numbers = os.replace, itertools.count()

    def refuse(source, target):
        if next(numbers) >= number:
            raise OSError('no space left')
        replace(source, target)

    monkeypatch.setattr(os, 'replace', refuse)


@pytest.mark.parametrize('number', [0, 1])
def test_failed_rename_keeps_the_old_record(run_dir, monkeypatch, number):
    """Both are others now, so that one written in place would show."""
    files = {name: (run_dir / name).read_bytes() for name in ('vocabulary.json', 'config.json')[number:]}
    _refuse_from(monkeypatch, number)
    with pytest.raises(InputError, match='cannot be written: no space left'):
        write_record(run_dir, Config.from_dict({'num_epochs': 9}), Vocabulary.from_text(TEXT + '!'), TEXT)
    assert {name: (run_dir / name).read_bytes() for name in files} == files


@pytest.mark.parametrize('number', [0, 1])
def test_run_without_all_its_files_does_not_exist(tmp_path, monkeypatch, number):
    _refuse_from(monkeypatch, number)
    with pytest.raises(InputError, match='cannot be written: no space left'):
        write_record(tmp_path, Config(), Vocabulary.from_text(TEXT), TEXT)
    assert not run_directory.exists(tmp_path)


def test_second_run_in_a_run_dir_is_refused_until_the_first_ends(tmp_path):
    second = run_directory.lock(tmp_path / 'run')
    with run_directory.lock(tmp_path / 'run'), pytest.raises(InputError, match='in use by another run'):
        second.__enter__()
    with run_directory.lock(tmp_path / 'run'):
        pass


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys, number):
    """Such as some network file systems."""

    def no_locks(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', no_locks)
    for _ in range(2):  # the second time the lock file exists
        with run_directory.lock(tmp_path / 'run'):
            (tmp_path / 'run' / 'config.json').touch()
            reason = f'has no locks: [Errno {number}] {os.strerror(number)}. Do not start a second run'
            assert reason in capsys.readouterr().err


@pytest.mark.parametrize('number', [errno.EACCES, errno.EPERM, errno.EROFS])
def test_lock_that_cannot_be_written_is_an_error(tmp_path, monkeypatch, number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, 'acquire', refused)
    with (
        pytest.raises(InputError, match=rf'cannot be written: \[Errno {number}\]'),
        run_directory.lock(tmp_path / 'run'),
    ):
        pass


def test_folder_without_a_run_is_named(tmp_path):
    assert not run_directory.exists(tmp_path)
    with pytest.raises(InputError, match=r'is not a run: it has no config\.json'):
        run_directory.read(tmp_path)


@pytest.mark.parametrize(
    ('corpus', 'name'),
    [
        ('lyrics', 'lyrics'),
        ('books/Emma.txt', 'Emma'),
        ('folder/', 'folder'),
        ('a/*.txt', 'corpus'),
        ('y.txt.gz', 'y'),
        ('novel [1999].txt', 'novel-1999'),  # TensorFlow reads [1999] in a path as a pattern
        ('[ab]*.txt', 'ab'),
        ('poems [vol. 2]', 'poems-vol.-2'),
        ('Dr. Faust.TXT', 'Dr.-Faust'),
        ('a' * 250 + '.txt', 'a' * 60),
    ],
)
def test_new_run_dir_has_a_unique_name_of_corpus_and_time(tmp_path, monkeypatch, corpus, name):
    monkeypatch.chdir(tmp_path)
    config, now = Config.from_dict({'corpus': corpus}), datetime.datetime(2026, 1, 2, 3, 4, 5)
    made = [run_directory.new_run_dir(config, now) for _ in range(3)]
    assert all(path.is_dir() for path in made)
    assert [str(path) for path in made] == [f'runs/{name}-random-20260102-030405{end}' for end in ('', '-2', '-3')]


def test_unwritable_folder_for_new_runs_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'runs').symlink_to('nowhere')
    with pytest.raises(InputError, match=r'no new run can be written under runs/: .*--run_dir'):
        run_directory.new_run_dir(Config(), datetime.datetime(2026, 1, 2))


def _with_checkpoint(name: str) -> pathlib.Path:
    """Returns `runs/<name>` with the file of a checkpoint."""
    folder = pathlib.Path('runs', name, 'checkpoints')
    folder.mkdir(parents=True)
    (folder / 'ckpt-1.index').touch()
    return folder.parent


def test_latest_run_is_the_one_that_recorded_the_latest_start(tmp_path, monkeypatch, vocabulary):
    """Not that of the newest directory: a copy is newer than what it was copied from."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match='no run with a checkpoint under runs/'):
        run_directory.latest_run_dir()
    record = run_directory.RunRecord(Config(), vocabulary, '', ())
    for name, hour, changed in (('older', 1, 30), ('newest', 3, 10), ('old', 2, 20)):
        run_dir = _with_checkpoint(name)
        run_directory.write(run_dir, record, 9, datetime.datetime(2026, 11, 25, hour, tzinfo=datetime.UTC))
        os.utime(run_dir / 'checkpoints', (changed, changed))
    pathlib.Path('runs', 'nothing saved', 'checkpoints').mkdir(parents=True)
    assert run_directory.latest_run_dir().name == 'newest'


def test_runs_that_did_not_record_their_start_are_ordered_by_the_file_system(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, changed in (('older', 1), ('newest', 3), ('old', 2)):
        os.utime(_with_checkpoint(name) / 'checkpoints', (changed, changed))
    assert run_directory.latest_run_dir().name == 'newest'


def test_latest_run_that_tensorflow_would_read_as_a_pattern_is_refused(tmp_path, monkeypatch):
    """A version before this one made such directories."""
    monkeypatch.chdir(tmp_path)
    _with_checkpoint('novel [1999]')
    with pytest.raises(InputError, match=r"run_dir='runs/novel \[1999\]' contains '\['.*rename it, or use"):
        run_directory.latest_run_dir()
