"""The held-out part in a run: the best weights and early stopping."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from data.ids import Ids
from pipeline import run
from pipeline.dataset import EncodedText
from pipeline.scorer import Scorer
from tests.pipeline.small_runs import IDS, best_record, in_turn, train, trainer_of

pytestmark = pytest.mark.slow

LOSSES = [5.0, 4.0, 4.5, 4.0, float('nan'), 3.0, 2.0]  # the best is the second; a tie is no improvement


def test_evaluation_may_read_the_start_of_the_held_out_part_alone(config, tmp_path):
    """It equals the evaluation of a text that ends there."""
    held_out = config.replace({'corpus': 'mine.txt', 'num_epochs': 1, 'init_scale': 0.5})
    (tmp_path / 'long.txt').write_text('风雪山水风山' * 5, 'utf-8')
    (tmp_path / 'short.txt').write_text('风雪山水', 'utf-8')
    for name, settings in {
        'limited': {'valid_corpus': 'long.txt', 'max_evaluate_characters': 4},
        'short': {'valid_corpus': 'short.txt'},
        'whole': {'valid_corpus': 'long.txt'},
    }.items():
        run.run(held_out.replace(settings), tmp_path / name)
    assert best_record(tmp_path / 'limited') == best_record(tmp_path / 'short') != best_record(tmp_path / 'whole')


def test_last_epoch_is_evaluated_whatever_the_interval(tmp_path):
    evaluated = []
    trainer = trainer_of(num_epochs=5, evaluate_every='3ep')

    def loss(_) -> float:
        evaluated.append(trainer.step // trainer.windows.steps_per_epoch)
        return 4.0

    train(tmp_path, trainer, loss)
    assert evaluated == [3, 5]


def test_evaluation_does_not_change_training(tmp_path):
    evaluated, alone = (trainer_of(num_epochs=3, evaluate_every=every) for every in ('1ep', '0'))
    scorer = Scorer(evaluated.model)
    train(tmp_path / 'evaluated', evaluated, lambda _: scorer.nats(EncodedText(Ids.of(IDS[:50]), 0, 50, 0)))
    train(tmp_path / 'alone', alone, None)
    for ours, theirs in zip(evaluated.model.variables, alone.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not (tmp_path / 'alone' / 'best').exists()


def test_early_stopping_saves_after_its_patience(tmp_path, capsys):
    """Evaluated after epochs 2, 4, 6 …: the best is that of 4, and the third without a better one that of 10."""
    trainer = trainer_of(num_epochs=30, evaluate_every='2ep', early_stopping_patience=3)
    train(tmp_path, trainer, in_turn(LOSSES))
    per_epoch = trainer.windows.steps_per_epoch
    assert trainer.step == 10 * per_epoch
    assert 'stopped early: the best valid perplexity, 54.60, is 3 evaluations old' in capsys.readouterr().out
    best = best_record(tmp_path)
    assert 0 < best.pop('train_nats_per_character') < 10
    assert best == {
        'checkpoint': f'ckpt-{4 * per_epoch}', 'step': 4 * per_epoch, 'epoch': 4, 'nats_per_character': 4.0,
    }  # fmt: skip
    assert tf.train.latest_checkpoint(str(tmp_path / 'checkpoints')).endswith(f'ckpt-{10 * per_epoch}')
    assert 'give a larger --early_stopping_patience' in run.nothing_left(trainer)


def test_early_stopping_is_off_by_default(tmp_path):
    trainer = trainer_of(num_epochs=6)
    train(tmp_path, trainer, lambda _: 4.0)
    assert trainer.step == 6 * trainer.windows.steps_per_epoch


@pytest.mark.parametrize('epochs_before', [1, 3, 4])
def test_resumed_run_stops_where_an_unbroken_run_does(tmp_path, epochs_before):
    """The best so far and the patience used up are in the checkpoint."""
    patience = {'early_stopping_patience': 3}
    unbroken = trainer_of(num_epochs=30, **patience)
    train(tmp_path / 'unbroken', unbroken, in_turn(LOSSES))

    losses = in_turn(LOSSES)
    train(tmp_path / 'broken', trainer_of(num_epochs=epochs_before, **patience), losses)
    resumed = trainer_of(num_epochs=30, **patience)
    train(tmp_path / 'broken', resumed, losses)
    assert resumed.step == unbroken.step == 5 * unbroken.windows.steps_per_epoch
    assert best_record(tmp_path / 'broken') == best_record(tmp_path / 'unbroken')
    for ours, theirs in zip(resumed.variables, unbroken.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


def test_best_loss_is_recorded_only_after_its_weights_are_saved(tmp_path, monkeypatch):
    """The previous weights stay, and early stopping is not updated, so that a resumed run repeats the evaluation."""
    trainer = trainer_of(num_epochs=1)
    train(tmp_path, trainer, lambda _: 4.0)
    files = {path.name: path.read_bytes() for path in (tmp_path / 'best').iterdir()}

    def full_disk(self, path):
        pathlib.Path(path).parent.mkdir()
        pathlib.Path(f'{path}.data-00000-of-00001').touch()
        raise tf.errors.ResourceExhaustedError(None, None, 'no space left')

    monkeypatch.setattr(tf.train.Checkpoint, 'write', full_disk)
    with pytest.raises(
        InputError, match=r'cannot save checkpoint \d+ in .*best: no space left.*last good one is .*ckpt-'
    ):
        train(tmp_path, longer := trainer_of(num_epochs=2), lambda _: 3.0)
    assert longer.early_stopping.best == 4.0
    assert {path.name: path.read_bytes() for path in (tmp_path / 'best').iterdir()} == files
