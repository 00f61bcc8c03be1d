"""A config for the tests of runs."""

import pytest

from pipeline.config import Config
from tests.conftest import TEXT


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """The config of a run with 2 minibatches per epoch, in the folder of its text; all initial weights are 0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.txt').write_text(TEXT, 'utf-8')
    settings = {'corpus': 'mine.txt', 'hidden_size': 4, 'init_scale': 0.0, 'jit': False, 'sample_every': '0'}
    return Config.from_dict(settings | {'batch_size': 32, 'num_steps': 5, 'num_epochs': 2})
