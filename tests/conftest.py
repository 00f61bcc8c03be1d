"""What the tests share: TensorFlow without its notices, a small text, and models on it."""

import os
import pathlib

import pytest

import data  # noqa: F401 - before TensorFlow: keeps its start-up notices off the screen
from data.vocabulary import Vocabulary
from pipeline.config import ModelConfig
from pipeline.generate import Generator
from pipeline.model import CharRNN

ROOT = pathlib.Path(__file__).parent.parent
TEXT = '分开 山一程 水一程 风把灯吹灭 雪把路盖平 不分开 你在河这边 我在河那边 ' * 12


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
def program_environment() -> dict[str, str]:
    """The environment of a program run from anywhere: the checkout on the path, with output as it comes."""
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'}
