"""What the tests share: TensorFlow without its notices, a small text, and models on it."""

import collections
import os
import pathlib
import signal

import pytest
import tensorflow as tf

import data  # noqa: F401 - before TensorFlow: keeps its start-up notices off the screen
from data.vocabulary import Vocabulary
from export.artifact.exporter import export
from pipeline import run_directory
from pipeline.config import Config, ModelConfig
from pipeline.generate import Generator
from pipeline.model import CharRNN

# In the background of a shell SIGINT is ignored, and the programs that tests start and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).parent.parent
TEXT = '分开 山一程 水一程 风把灯吹灭 雪把路盖平 不分开 你在河这边 我在河那边 ' * 12
DEFAULT_LENGTH = 30


def write_record(run_dir: pathlib.Path, config: Config, vocabulary: Vocabulary, text: str) -> None:
    """Records a run that trains on all of `text`."""
    counts = collections.Counter(text)
    sha256 = run_directory.text_sha256(text)
    record = run_directory.RunRecord(config, vocabulary, sha256, tuple(counts[c] for c in vocabulary.characters))
    run_directory.write(run_dir, record, len(text))


@pytest.fixture(scope='session')
def vocabulary() -> Vocabulary:
    return Vocabulary.from_text(TEXT)


@pytest.fixture(scope='session')
def model(vocabulary) -> CharRNN:
    """Untrained, with weights large enough that its choices differ."""
    return CharRNN(ModelConfig(hidden_size=16, init_scale=0.5), len(vocabulary), seed=3)


@pytest.fixture(scope='session')
def generator(model, vocabulary) -> Generator:
    return Generator(model, vocabulary)


@pytest.fixture(scope='session')
def models(model, vocabulary) -> dict[str, CharRNN]:
    """One of each cell, by its name; the lstm in two layers."""
    configs = [
        ModelConfig(cell='gru', hidden_size=16, init_scale=0.5),
        ModelConfig(cell='lstm', num_layers=2, hidden_size=16, init_scale=0.5),
    ]
    return {'rnn': model} | {config.cell: CharRNN(config, len(vocabulary), seed=3) for config in configs}


@pytest.fixture(scope='session')
def version_dirs(models, vocabulary, tmp_path_factory) -> dict[str, pathlib.Path]:
    """Each of `models` as it is exported, by the cell; `serving_default` adds DEFAULT_LENGTH characters."""
    folder = tmp_path_factory.mktemp('models')
    return {name: export(model, vocabulary, folder / name, DEFAULT_LENGTH) for name, model in models.items()}


@pytest.fixture(scope='session')
def loaded_models(version_dirs) -> dict:
    """Each of `version_dirs` as Python loads it, by the cell."""
    return {name: tf.saved_model.load(str(version_dir)) for name, version_dir in version_dirs.items()}


@pytest.fixture(scope='session')
def program_environment() -> dict[str, str]:
    """The environment of a program run from anywhere: the checkout on the path, with output as it comes."""
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'}
