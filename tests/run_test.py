"""The loop around the trainer: the held-out part, the best weights, early stopping and what resuming makes of them."""

import contextlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from data.vocabulary import Vocabulary
from data.windows import Windows
from pipeline import run
from pipeline.checkpoints import BestCheckpoint, Checkpoints
from pipeline.config import Interval, ModelConfig, TrainingConfig
from pipeline.interrupts import StopRequest
from pipeline.model import CharRNN
from pipeline.monitor import Monitor
from pipeline.profiler import Profiler
from pipeline.scoring import Scorer
from pipeline.trainer import Trainer
from tests.conftest import TEXT

VOCABULARY = Vocabulary.from_text(TEXT)
IDS = VOCABULARY.encode(TEXT)
LOSSES = [5.0, 4.0, 4.5, 4.0, float('nan'), 3.0, 2.0]  # the best is the second; a tie is no improvement


def _trainer(**config) -> Trainer:
    windows = Windows(len(TEXT), 4, 8)
    model = CharRNN(ModelConfig(hidden_size=8), len(VOCABULARY))
    return Trainer(model, windows, TrainingConfig(sample_every=0, **config))


def _train(run_dir, trainer: Trainer, loss) -> None:
    checkpoints = Checkpoints(run_dir, trainer, Interval(0, 30))
    checkpoints.restore()
    held_out = run.HeldOut(loss, BestCheckpoint(run_dir, trainer.model))
    monitor = Monitor(run_dir, 0, 1, 0, terminal=False)
    with contextlib.closing(monitor), StopRequest() as stop:
        run.train(trainer, IDS, None, monitor, Profiler(run_dir, None), checkpoints, stop, held_out)


def _best(run_dir) -> dict:
    return json.loads((run_dir / 'best' / 'best.json').read_text())


def test_stops_after_the_evaluations_without_improvement_and_saves(tmp_path, capsys):
    """Evaluated after epochs 2, 4, 6 …: the best is that of 4, and the third without a better one that of 10."""
    trainer = _trainer(num_epochs=30, evaluate_every=2, early_stopping_patience=3)
    _train(tmp_path, trainer, iter(LOSSES).__next__)
    per_epoch = trainer.windows.steps_per_epoch
    assert trainer.step == 10 * per_epoch
    assert 'stopped early: the best valid perplexity, 54.60, is 3 evaluations old' in capsys.readouterr().out
    best = _best(tmp_path)
    assert 0 < best.pop('train_nats_per_character') < 10
    assert best == {
        'checkpoint': f'ckpt-{4 * per_epoch}', 'step': 4 * per_epoch, 'epoch': 4, 'nats_per_character': 4.0,
    }  # fmt: skip
    assert tf.train.latest_checkpoint(str(tmp_path / 'checkpoints')).endswith(f'ckpt-{10 * per_epoch}')
    assert 'give a larger --early_stopping_patience' in run._nothing_left(trainer, 30 * per_epoch)


def test_never_stops_early_unless_asked_to(tmp_path):
    trainer = _trainer(num_epochs=6)
    _train(tmp_path, trainer, lambda: 4.0)
    assert trainer.step == 6 * trainer.windows.steps_per_epoch


@pytest.mark.parametrize('epochs_before', [1, 3, 4])
def test_a_resumed_run_stops_where_the_unbroken_one_does(tmp_path, epochs_before):
    """The best so far and the patience used up are in the checkpoint."""
    patience = {'early_stopping_patience': 3}
    unbroken = _trainer(num_epochs=30, **patience)
    _train(tmp_path / 'unbroken', unbroken, iter(LOSSES).__next__)

    losses = iter(LOSSES)
    _train(tmp_path / 'broken', _trainer(num_epochs=epochs_before, **patience), losses.__next__)
    resumed = _trainer(num_epochs=30, **patience)
    _train(tmp_path / 'broken', resumed, losses.__next__)
    assert resumed.step == unbroken.step == 5 * unbroken.windows.steps_per_epoch
    assert _best(tmp_path / 'broken') == _best(tmp_path / 'unbroken')
    for ours, theirs in zip(resumed.variables, unbroken.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


def test_a_best_that_could_not_be_saved_is_not_the_best(tmp_path, monkeypatch):
    """The weights before stay, and the trainer has not heard of the new ones, so that it tries again when resumed."""
    trainer = _trainer(num_epochs=1)
    _train(tmp_path, trainer, lambda: 4.0)
    files = {path.name: path.read_bytes() for path in (tmp_path / 'best').iterdir()}

    def full_disk(self, path):
        (tmp_path / 'best' / f'{pathlib.Path(path).name}.data-00000-of-00001').touch()
        raise tf.errors.ResourceExhaustedError(None, None, 'no space left')

    monkeypatch.setattr(tf.train.Checkpoint, 'write', full_disk)
    with pytest.raises(
        InputError, match=r'cannot save checkpoint \d+ in .*best: no space left.*last good one is .*ckpt-'
    ):
        _train(tmp_path, longer := _trainer(num_epochs=2), lambda: 3.0)
    assert longer.early_stopping.best == 4.0
    assert {path.name: path.read_bytes() for path in (tmp_path / 'best').iterdir()} == files


def test_evaluating_changes_no_bit_of_what_is_learnt(tmp_path):
    evaluated, alone = (_trainer(num_epochs=3, evaluate_every=every) for every in (1, 0))
    scorer = Scorer(evaluated.model)
    _train(tmp_path / 'evaluated', evaluated, lambda: scorer.nats(IDS[:50]))
    _train(tmp_path / 'alone', alone, None)
    for ours, theirs in zip(evaluated.model.variables, alone.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not (tmp_path / 'alone' / 'best').exists()


@pytest.mark.parametrize(
    ('prefixes', 'min_count', 'expected'),
    [
        (TrainingConfig.prefixes, 1, ('Once',)),
        (TrainingConfig.prefixes, 2, ('Once',)),  # they could be read as unknown, but would say nothing
        (('on', '囧'), 2, ('on', '囧')),
    ],
)
def test_prefixes_that_say_something(prefixes, min_count, expected):
    text = 'Once upon a time upon a time'
    assert run.usable_prefixes(prefixes, Vocabulary.from_text(text, min_count), text) == expected
