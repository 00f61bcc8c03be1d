"""Runs that a signal, a failure or a closed stdout ends, and the runs that resume them."""

import contextlib
import json
import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf

from data.output import OutputError
from pipeline import run
from pipeline.checkpoints import Checkpoints
from pipeline.intervals import Interval
from pipeline.monitor import Monitor
from pipeline.trainer import Trainer
from tests.pipeline.small_runs import (
    EVERY_30_SECONDS,
    WITHIN_EPOCHS,
    best_record,
    in_turn,
    losses_by_step,
    train,
    trainer_of,
)

pytestmark = pytest.mark.slow


def test_ctrl_c_stops_the_run_within_the_next_epoch(tmp_path):
    trainer = trainer_of(num_epochs=9)
    per_epoch = trainer.windows.steps_per_epoch

    def loss(_) -> float:
        if trainer.step == 2 * per_epoch:
            signal.raise_signal(signal.SIGINT)
        return 4.0

    train(tmp_path, trainer, loss)
    assert trainer.step <= 3 * per_epoch
    assert tf.train.latest_checkpoint(str(tmp_path / 'checkpoints')).endswith(f'ckpt-{trainer.step}')


def test_closed_stdout_saves_the_run(config, tmp_path, monkeypatch):
    """As after `| head -1`: the line after the second epoch finds no reader."""

    def no_reader(self, line):
        raise OutputError(BrokenPipeError())

    monkeypatch.setattr(Monitor, 'say', no_reader)
    with pytest.raises(OutputError):
        run.run(config, tmp_path / 'run')
    assert tf.train.latest_checkpoint(str(tmp_path / 'run' / 'checkpoints')).endswith('ckpt-4')


def test_curves_are_flushed_before_each_checkpoint(tmp_path, monkeypatch):
    """A run that is killed after the checkpoint resumes from it, and its curves would have a gap."""
    happened = []

    def recorded(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def record(*args, **kwargs):
            happened.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, record)

    for owner, name in ((Monitor, 'point'), (Monitor, 'flush'), (Checkpoints, 'save')):
        recorded(owner, name)
    train(tmp_path, trainer_of(num_epochs=3), None, every=Interval(steps=1))
    before_saves = [happened[n - 1] for n, name in enumerate(happened) if name == 'save']
    assert len(before_saves) >= 3
    assert set(before_saves) == {'flush'}


@pytest.mark.parametrize('stopped_epoch', [1, 2, 3])
def test_evaluation_that_a_signal_ends_is_repeated_by_the_resumed_run(tmp_path, stopped_epoch):
    """The losses are noted once each, the last epoch included."""
    patience = {'num_epochs': 3, 'early_stopping_patience': 2}
    unbroken = trainer_of(**patience)
    train(tmp_path / 'unbroken', unbroken, in_turn([4.0, 5.0, 3.0]))

    stopped = trainer_of(**patience)

    def signalled(poll) -> float:
        if stopped.step == stopped_epoch * stopped.windows.steps_per_epoch:
            signal.raise_signal(signal.SIGTERM)
        poll()
        return [4.0, 5.0][stopped.step // stopped.windows.steps_per_epoch - 1]

    train(tmp_path / 'broken', stopped, signalled)
    assert stopped.step == stopped_epoch * stopped.windows.steps_per_epoch
    assert stopped.num_epochs_done == stopped_epoch - 1
    resumed = trainer_of(**patience)
    train(tmp_path / 'broken', resumed, in_turn([4.0, 5.0, 3.0][stopped_epoch - 1 :]))
    assert resumed.is_done
    assert best_record(tmp_path / 'broken') == best_record(tmp_path / 'unbroken')
    for ours, theirs in zip(resumed.variables, unbroken.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


def test_signal_before_the_samples_leaves_them_to_the_resumed_run(config, tmp_path, monkeypatch, capsys):
    sampled = config.replace({'sample_every': '2ep', 'prefixes': ('风',), 'sample_length': 3})
    point = Monitor.point

    def signalled(self, progress, *rest):
        point(self, progress, *rest)
        if progress.epoch == 2:
            signal.raise_signal(signal.SIGHUP)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, 'point', signalled)
        assert run.run(sampled, tmp_path / 'run').exit_code == 129
    assert ' - 风' not in capsys.readouterr().out
    assert run.run(sampled, tmp_path / 'run') == (tmp_path / 'run', 0)
    printed = capsys.readouterr().out
    assert 'resumes after epoch 1 of 2\nepoch 2, perplexity' in printed
    assert printed.count(' - 风') == 1


def test_evaluation_before_a_signal_is_counted_once(tmp_path, monkeypatch):
    """The signal comes between the evaluation and the samples of an epoch; the resumed run repeats both."""
    settings = {'num_epochs': 2, 'sample_every': '1ep', 'sample_length': 3, 'early_stopping_patience': 9}
    point = Monitor.point

    def signalled(self, progress, *rest):
        point(self, progress, *rest)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, 'point', signalled)
        train(tmp_path, trainer_of(**settings), in_turn([4.0]))
    resumed = trainer_of(**settings)
    train(tmp_path, resumed, in_turn([4.0, 5.0]))
    assert (resumed.early_stopping.best, resumed.early_stopping.since_best) == (4.0, 1)


def _points(run_dir: pathlib.Path) -> list[dict]:
    lines = map(json.loads, (run_dir / 'metrics.jsonl').read_text().splitlines())
    return [{name: value for name, value in line.items() if name != 'seconds'} for line in lines]


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory) -> tuple[pathlib.Path, Trainer]:
    """A run with everything due within epochs, and its trainer at the end."""
    trainer, run_dir = trainer_of(**WITHIN_EPOCHS), tmp_path_factory.mktemp('unbroken')
    train(run_dir, trainer, losses_by_step(trainer)[0])
    return run_dir, trainer


@pytest.mark.parametrize(('stopped_step', 'killed'), [(4, True), (12, False), (28, True), (28, False)])
def test_run_that_ends_inside_an_evaluation_within_an_epoch_equals_an_unbroken_one(
    tmp_path, unbroken, stopped_step, killed
):
    """Stopped by a signal, or killed: then it resumes from the checkpoint that was due before the evaluation."""
    broken = trainer_of(**WITHIN_EPOCHS)

    def interrupted(poll) -> float:
        if broken.step == stopped_step:
            if killed:
                raise MemoryError
            signal.raise_signal(signal.SIGTERM)
        return losses_by_step(broken)[0](poll)

    with pytest.raises(MemoryError) if killed else contextlib.nullcontext():
        train(tmp_path, broken, interrupted, every=Interval(steps=1))
    assert tf.train.latest_checkpoint(str(tmp_path / 'checkpoints')).endswith(f'ckpt-{stopped_step}')
    resumed = trainer_of(**WITHIN_EPOCHS)
    loss, evaluated = losses_by_step(resumed)
    train(tmp_path, resumed, loss)
    assert evaluated[0] == stopped_step
    assert resumed.is_done
    run_dir, trainer = unbroken
    assert best_record(tmp_path) == best_record(run_dir)
    for ours, theirs in zip(resumed.variables, trainer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)
    assert _points(tmp_path) == _points(run_dir)


def test_finished_run_has_nothing_left_although_its_last_step_was_saved_before_its_evaluation(tmp_path):
    trainer = trainer_of(num_epochs=1)
    train(tmp_path, trainer, lambda _: 4.0, every=Interval(steps=1))
    again = trainer_of(num_epochs=1)
    Checkpoints(tmp_path, again, EVERY_30_SECONDS).restore()
    assert again.is_done
    assert again.early_stopping.best == 4.0


def test_run_of_an_older_version_resumes(tmp_path, monkeypatch):
    """Its checkpoints lack the variable `reported_step`."""
    unbroken = trainer_of(num_epochs=4)
    train(tmp_path / 'unbroken', unbroken, None)
    old = trainer_of(num_epochs=2)
    del old.reported_step
    old.reported_step = -1  # not a variable
    with monkeypatch.context() as patched:
        patched.setattr(run.Run, '_report', lambda self, progress: None)
        patched.setattr(Trainer, 'know_reported_step', lambda self: None)
        train(tmp_path / 'old', old, None)
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / 'old' / 'checkpoints'))]
    assert not any('reported_step' in name for name in names)
    resumed = trainer_of(num_epochs=4)
    train(tmp_path / 'old', resumed, None)
    assert int(resumed.reported_step) == int(unbroken.reported_step) == unbroken.step
    for ours, theirs in zip(resumed.model.variables, unbroken.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
