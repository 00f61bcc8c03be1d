"""Presets: each is a flag file that pipeline.train takes, and the experiment that its name says."""

import copy

import pytest
from absl import flags

from pipeline import train  # noqa: F401 - defines the flags
from pipeline.config import Config
from tests.conftest import ROOT

PRESETS = ROOT / 'pipeline' / 'presets'
BOOK = {'corpus': 'jaychou', 'max_characters': 10_000}


@pytest.mark.parametrize(
    ('name', 'settings'),
    [
        ('section-random', {'sampling': 'random'}),
        ('section-consecutive', {'sampling': 'consecutive'}),
        ('gru', {'sampling': 'consecutive', 'cell': 'gru', 'num_epochs': 160}),
        ('lstm', {'sampling': 'consecutive', 'cell': 'lstm', 'num_epochs': 160}),
    ],
)
def test_preset_is_the_experiment_of_its_name(name, settings):
    """The rest are the defaults, which are the book's."""
    values = copy.deepcopy(flags.FLAGS)
    values(['train', f'--flagfile={PRESETS / name}.flags'])
    found = {name: values[name].value for name in Config().to_dict()}
    assert Config.from_dict(found) == Config().replace(BOOK | settings)


@pytest.mark.parametrize('path', sorted(PRESETS.iterdir()), ids=lambda path: path.stem)
def test_preset_starts_with_a_comment(path):
    assert path.suffix == '.flags'
    assert path.read_text('utf-8').startswith('# ')
