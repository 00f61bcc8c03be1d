"""A long text is encoded once and found again by its bytes, whatever happens meanwhile."""

import pathlib
import signal
import subprocess
import sys

import pytest

from data import corpus, kept_text, stored_text
from data.errors import InputError
from data.output import OutputError
from data.progress import Progress
from data.reading import ReadingConfig
from data.source import Source
from tests.conftest import ROOT

TEXT = 'the sun rose\r\nabove the fields\n' * 100


@pytest.fixture
def home(tmp_path, monkeypatch) -> pathlib.Path:
    """A data home; every text is long."""
    monkeypatch.setenv('CHARRNN_DATA_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(kept_text, 'LONG', 0)
    return tmp_path / 'home' / 'encoded'


def _folders(home: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in home.iterdir() if path.is_dir()]


def _write(path: pathlib.Path, text: str = TEXT) -> str:
    path.write_bytes(text.encode())
    return str(path)


def test_text_is_encoded_once(home, tmp_path, monkeypatch, capsys):
    expected = TEXT.replace('\r', ' ').replace('\n', ' ')
    assert str(corpus.load(ReadingConfig(_write(tmp_path / 'a.txt'))).text) == expected
    (kept,) = _folders(home)
    assert f'encodes the text once and keeps it in {kept}\n' in capsys.readouterr().out
    monkeypatch.setattr(stored_text, 'create', None)
    for name in ('a.txt', 'b.txt'):  # found by the bytes, not by the name
        assert str(corpus.load(ReadingConfig(_write(tmp_path / name))).text) == expected


def test_short_beginning_of_a_long_text_is_not_kept_and_its_files_are_not_read_whole(home, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_text, 'LONG', 1000)
    monkeypatch.setattr(kept_text, '_key', None)
    found = corpus.load(ReadingConfig(_write(tmp_path / 'a.txt'), max_characters=50)).text
    assert str(found) == TEXT.replace('\r', ' ').replace('\n', ' ')[:50]
    assert not home.exists()


@pytest.mark.parametrize(
    'other',
    [
        {'newlines': 'keep'},
        {'max_characters': 50},
        {'encoding': 'cp1252'},
        {'encoding_errors': 'replace'},
    ],
)
def test_other_settings_make_another_text(home, tmp_path, other):
    path = _write(tmp_path / 'a.txt', 'é\r\n' + TEXT)
    corpus.load(ReadingConfig(path))
    found = str(corpus.load(ReadingConfig(path, **other)).text)
    assert len(_folders(home)) == 2
    assert found == str(stored_text.temporary(corpus._source(ReadingConfig(path, **other))))


def test_changed_bytes_make_another_text(home, tmp_path):
    for text in (TEXT, TEXT[:-2] + '!\n'):
        path = _write(tmp_path / 'a.txt', text)
        assert str(corpus.load(ReadingConfig(path, newlines='keep')).text) == text.replace('\r', '')
    assert len(_folders(home)) == 2


def test_text_that_changes_while_it_is_read_is_refused(home, tmp_path, monkeypatch):
    path = tmp_path / 'a.txt'
    _write(path)
    create = stored_text.create

    def create_late(*args):
        path.write_text('another', 'utf-8')
        create(*args)

    monkeypatch.setattr(stored_text, 'create', create_late)
    with pytest.raises(InputError, match='the text was changed while it was read'):
        corpus.load(ReadingConfig(str(path)))
    assert _folders(home) == []


def _encode(reading: ReadingConfig) -> None:
    corpus.encode(reading, pathlib.Path(reading.corpus).with_name('x'))


@pytest.mark.parametrize('long', [0, 1 << 24])
@pytest.mark.parametrize('read', [corpus.load, _encode])
def test_closed_stdout_is_not_an_error_of_the_text(home, tmp_path, monkeypatch, capsys, read, long):
    """It is where the progress of a long text is shown."""

    def closed(progress, done):
        raise OutputError(BrokenPipeError())

    monkeypatch.setattr(kept_text, 'LONG', long)
    monkeypatch.setattr(Progress, 'update', closed)
    with pytest.raises(OutputError):
        read(ReadingConfig(_write(tmp_path / 'a.txt')))
    assert capsys.readouterr().err == ''


def test_text_that_is_deleted_before_it_is_read_is_named(home, tmp_path):
    with pytest.raises(InputError, match=r'cannot read .*/gone\.txt: No such file'):
        kept_text.load(Source([tmp_path / 'gone.txt'], ReadingConfig('gone.txt')))


@pytest.mark.parametrize('known', [True, False])
def test_home_that_cannot_be_written_or_is_unknown_costs_only_time(tmp_path, home, capsys, monkeypatch, known):
    home.parent.write_text('a file', 'utf-8')
    if not known:
        monkeypatch.setenv('CHARRNN_DATA_HOME', '~no-such-user/x')
    assert str(corpus.load(ReadingConfig(_write(tmp_path / 'a.txt'), newlines='keep')).text) == TEXT.replace('\r', '')
    assert 'warning: the encoded text cannot be kept' in capsys.readouterr().err


def test_short_text_is_not_kept(home, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_text, 'LONG', 1 << 24)
    corpus.load(ReadingConfig(_write(tmp_path / 'a.txt')))
    assert not home.exists()


def test_process_that_is_killed_while_it_encodes_leaves_no_half_text(home, tmp_path):
    """SIGKILL after the second piece, then an unbroken start."""
    path = _write(tmp_path / 'a.txt')
    program = f"""
import os, signal
from data import corpus, encodings, kept_text, stored_text
from data.reading import ReadingConfig
kept_text.LONG, encodings._CHUNK = 0, 1000
add, count = stored_text._Writer.add, 0
def add_two(writer, text):
    global count
    add(writer, text)
    writer._file.flush()
    count += 1
    if count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
stored_text._Writer.add = add_two
corpus.load(ReadingConfig({path!r}, newlines='keep'))
"""
    killed = subprocess.run([sys.executable, '-c', program], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    (part,) = _folders(home)
    assert part.suffix == '.part'
    assert str(corpus.load(ReadingConfig(path, newlines='keep')).text) == TEXT.replace('\r', '')
    (kept,) = _folders(home)
    assert kept.suffix == ''


def test_second_process_waits_for_the_first(home, tmp_path):
    """The first holds the lock until the second says that it waits."""
    path = _write(tmp_path / 'a.txt')
    program = f"""
from data import corpus, kept_text
from data.reading import ReadingConfig
kept_text.LONG = 0
print(len(corpus.load(ReadingConfig({path!r})).text))
"""
    key = kept_text._key(corpus._source(ReadingConfig(path)))
    home.mkdir(parents=True)
    with kept_text._locked(home / f'{key}.lock'):
        second = subprocess.Popen([sys.executable, '-uc', program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert second.stdout.readline() == 'another process encodes this text: waits for it\n'
        stored_text.create(home / key, corpus._source(ReadingConfig(path)))
    out, _ = second.communicate(timeout=60)
    assert out == f'{len(TEXT)}\n'
