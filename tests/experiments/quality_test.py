"""The plan of docs/quality.md, and its tables, which equal their logs."""

import copy

import pytest
from absl import flags

from experiments import commands, quality, quality_plan, report
from experiments.quality import Figures
from pipeline import train  # noqa: F401 - defines the flags
from pipeline.config import Config
from tests.conftest import ROOT

STEPS = [step for steps in quality_plan.groups().values() for step in steps]
TRAININGS = [step for step in STEPS if step.name.endswith('-train')]
LOG = """$ python -m pipeline.evaluate --baselines
runs/a/checkpoints/ckpt-9 on the test part of jaychou:
6,328 characters, 6,328 predicted, 3,872 of new text, 4.33% unknown
                perplexity   nats/char   bits/char    new text
model               150.36      5.0130      7.2323      164.70
unigram             329.71      5.7982      8.3650
"""


def test_figures_are_parsed():
    assert quality.parse(LOG) == {
        'model': Figures(150.36, 5.013, 7.2323, 164.7),
        'unigram': Figures(329.71, 5.7982, 8.365, None),
    }


@pytest.mark.parametrize('step', TRAININGS, ids=lambda step: step.name)
def test_training_has_valid_flags_and_prints_only_text_that_may_be_printed(step, monkeypatch):
    monkeypatch.chdir(ROOT)
    values = copy.deepcopy(flags.FLAGS)
    values(step.command.split()[2:])
    config = Config.from_dict({name: values[name].value for name in Config().to_dict()})
    assert config.data.corpus != 'jaychou' or not (config.training.sample_length or config.training.prefixes)


def test_each_evaluation_follows_the_trainings_that_it_needs():
    trained = set()
    for step in STEPS:
        run_dirs = [word.partition('=')[2] for word in step.command.split() if word.startswith(('--run_dir', '--con'))]
        if step in TRAININGS:
            trained.update(run_dirs)
        else:
            assert set(run_dirs) <= trained, step.name


def test_every_log_belongs_to_the_plan_and_the_document_equals_the_logs():
    assert {path.stem for path in quality.FOLDER.iterdir()} == {step.name for step in STEPS}
    for step in STEPS:
        assert commands.has_log(quality.FOLDER / f'{step.name}.log', step.command), step.name
    document = quality.DOCUMENT.read_text('utf-8')
    expected = report.render(document, quality.tables(quality.FOLDER))
    assert expected == document, 'run: make experiments ARGS=--render_only'
