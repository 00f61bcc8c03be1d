"""What is due within an epoch: points of the curves, evaluations and samples."""

import json

import numpy as np
import pytest

from pipeline import run, run_directory
from tests.conftest import TEXT
from tests.pipeline.small_runs import WITHIN_EPOCHS, best_record, losses_by_step, train, trainer_of

pytestmark = pytest.mark.slow


def test_everything_may_be_due_within_an_epoch(tmp_path, capsys):
    trainer = trainer_of(**WITHIN_EPOCHS)
    last = 2 * trainer.windows.steps_per_epoch
    loss, evaluated = losses_by_step(trainer)
    train(tmp_path, trainer, loss)
    assert trainer.windows.steps_per_epoch == 14
    assert evaluated == [4, 8, 12, 16, 20, 24, 28]
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == [4, 5, 8, 10, 12, 15, 16, 20, 24, 25, 28]
    assert [line['step'] for line in lines if 'valid_loss' in line] == evaluated
    assert [line['epoch'] for line in lines] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    printed = capsys.readouterr().out
    assert printed.count(' - 分开') == last // 7
    assert 'step 7 of 1, in epoch 1: perplexity' in printed
    assert best_record(tmp_path)['step'] == min(evaluated, key=lambda step: np.sin(step))


def test_points_are_the_means_since_the_point_before(tmp_path):
    """Against a run with a point at each step."""
    losses = {}
    for every in ('1', '5'):
        train(tmp_path / every, trainer_of(num_epochs=2, log_every=every), None)
        lines = map(json.loads, (tmp_path / every / 'metrics.jsonl').read_text().splitlines())
        losses[every] = {line['step']: line['loss'] for line in lines}
    assert list(losses['5']) == [5, 10, 15, 20, 25, 28]
    before = 0
    for step, loss in losses['5'].items():
        assert loss == pytest.approx(np.mean([losses['1'][s] for s in range(before + 1, step + 1)]), rel=1e-9)
        before = step


def test_long_epochs_have_a_point_each_thousand_steps(config, tmp_path):
    (tmp_path / 'long.txt').write_text(TEXT * 50, 'utf-8')
    small = {'corpus': 'long.txt', 'batch_size': 1, 'num_steps': 10, 'num_epochs': 1}
    run.run(config.replace(small), tmp_path / 'run')
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1000, 2000, 2339]
    assert run_directory.read(tmp_path / 'run').config.training.log_every == '1000'
