"""Shared fixtures: a small text and models on it; TensorFlow without its start-up notices."""

import data  # noqa: F401 - before TensorFlow: hides its start-up notices
from tests import environment  # noqa: F401 - before TensorFlow, too

# isort: split
import collections
import datetime
import os
import pathlib
import signal
from collections.abc import Callable, Iterator

import filelock
import pytest
import tensorflow as tf

from data import stored_text
from data.corpus import text_sha256
from data.stored_text import StoredText
from data.vocabulary import Vocabulary
from export.artifact.exporter import export
from pipeline import run_directory
from pipeline.config import Config, ModelConfig
from pipeline.generate import Generator
from pipeline.model import CharRNN
from tests import programs

# A shell starts a background job with SIGINT ignored, and nohup ignores SIGHUP; the programs that tests interrupt would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = pathlib.Path(__file__).parent.parent
TEXT = '分开 山一程 水一程 风把灯吹灭 雪把路盖平 不分开 你在河这边 我在河那边 ' * 12
DEFAULT_LENGTH = 30


# Tests that export a model or start a server, a program or a browser are slow.
SLOW_FIXTURES = {'version_dirs', 'model_dir', 'model_dirs', 'serve', 'program_environment', 'browser'}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks slow tests, and moves files marked slow to the front, so that parallel workers end at the same time."""
    first = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in first)
    for item in items:
        if SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    programs.look_for_garbage_less_often()


def write_record(run_dir: pathlib.Path, config: Config, vocabulary: Vocabulary, text: str) -> None:
    """Records a run that trains on all of `text`."""
    counts = collections.Counter(text)
    sha256 = text_sha256(text)
    record = run_directory.RunRecord(config, vocabulary, sha256, tuple(counts[c] for c in vocabulary.characters))
    run_directory.write(run_dir, record, len(text), datetime.datetime.now(datetime.UTC))


class Pieces:
    """The pieces of a text, as a source to store."""

    newlines = 'space'
    num_documents = 1

    def __init__(self, *pieces: str):
        self._pieces = pieces

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)


def stored(text: str) -> StoredText:
    """Returns `text` as `corpus.load` does."""
    return stored_text.temporary(Pieces(text))


@pytest.fixture(scope='session')
def vocabulary() -> Vocabulary:
    return Vocabulary.from_text(TEXT)


@pytest.fixture(scope='session')
def model(vocabulary) -> CharRNN:
    """An untrained model, with weights large enough that its choices differ."""
    return CharRNN(ModelConfig(hidden_size=16, init_scale=0.5), len(vocabulary), seed=3)


@pytest.fixture(scope='session')
def generator(model, vocabulary) -> Generator:
    return Generator(model, vocabulary)


@pytest.fixture(scope='session')
def models(model, vocabulary) -> dict[str, CharRNN]:
    """One model of each cell, by its name; the gru has tied embeddings and the lstm two layers."""
    configs = [
        ModelConfig(cell='gru', hidden_size=16, init_scale=0.5, embedding_size=12, tie_embeddings=True),
        ModelConfig(cell='lstm', num_layers=2, hidden_size=16, init_scale=0.5),
    ]
    return {'rnn': model} | {config.cell: CharRNN(config, len(vocabulary), seed=3) for config in configs}


@pytest.fixture(scope='session')
def written_once(tmp_path_factory) -> Callable[[str, Callable[[pathlib.Path], object]], pathlib.Path]:
    """`written_once(name, write)` -> a directory, which `write` fills in one of the parallel processes."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if 'PYTEST_XDIST_WORKER' in os.environ else own

    def written_once(name: str, write: Callable[[pathlib.Path], object]) -> pathlib.Path:
        folder, complete = root / name, root / f'{name}.complete'
        with filelock.FileLock(root / f'{name}.lock'):
            if not complete.exists():
                folder.mkdir()
                write(folder)
                complete.touch()
        return folder

    return written_once


@pytest.fixture(scope='session')
def version_dirs(models, vocabulary, written_once) -> dict[str, pathlib.Path]:
    """The exported `models`, by the cell; `serving_default` adds DEFAULT_LENGTH characters."""

    def write(folder: pathlib.Path) -> None:
        for name, model in models.items():
            export(model, vocabulary, folder / name, DEFAULT_LENGTH)

    folder = written_once('version_dirs', write)
    return {name: folder / name / '1' for name in models}


@pytest.fixture(scope='session')
def loaded_models(version_dirs) -> dict:
    """The `version_dirs` as Python loads them, by the cell."""
    return {name: tf.saved_model.load(str(version_dir)) for name, version_dir in version_dirs.items()}


@pytest.fixture(scope='session')
def program_environment() -> dict[str, str]:
    """The environment of a program in any directory: the checkout on its path, output unbuffered."""
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'}
