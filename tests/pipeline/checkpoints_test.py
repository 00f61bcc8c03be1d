"""Checkpoints: when they are saved, their content, and errors of unreadable ones."""

import math
import os
import pathlib
import resource

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from pipeline.checkpoints import BestCheckpoint, Checkpoints, best_path, find, load_model, recorded_nats
from pipeline.intervals import Interval
from tests.pipeline.small_runs import IDS, VOCABULARY, trainer_of


class _Root(tf.Module):
    def __init__(self, size: int = 3):
        super().__init__()
        self.model = tf.Module()
        self.model.weight = tf.Variable(tf.range(size, dtype=tf.float32))
        self.other = tf.Variable(5.0)


def _kept(run_dir) -> set[str]:
    return {path.stem for path in (run_dir / 'checkpoints').glob('*.index')}


EVERY_STEP = Interval(steps=1)


def test_restores_the_newest_checkpoint_and_keeps_the_one_before(tmp_path):
    root = _Root()
    checkpoints = Checkpoints(tmp_path, root, EVERY_STEP)
    assert checkpoints.restore() is None
    for step in (10, 20, 30):
        root.other.assign(step)
        checkpoints.save(step)
    resumed = _Root()
    assert Checkpoints(tmp_path, resumed, EVERY_STEP).restore().name == 'ckpt-30'
    assert resumed.other.numpy() == 30
    assert _kept(tmp_path) == {'ckpt-20', 'ckpt-30'}


@pytest.mark.parametrize(('num_renamed', 'kept', 'value'), [(0, 'ckpt-1', 1), (1, 'ckpt-1', 1), (2, 'ckpt-2', 3)])
def test_step_that_is_saved_again_is_whole_or_gone_when_that_is_killed(
    tmp_path, monkeypatch, capsys, num_renamed, kept, value
):
    """Killed after some of the two files of a checkpoint were renamed: no part of it is read with one of the old."""
    root = _Root()
    checkpoints = Checkpoints(tmp_path, root, EVERY_STEP)
    for step, number in ((1, 1), (2, 2)):
        root.other.assign(number)
        checkpoints.save(step)
    checkpoints.save(2)  # saved once
    replace, renamed = pathlib.Path.replace, []

    def killed(self, target):
        if len(renamed) == num_renamed:
            raise KeyboardInterrupt
        renamed.append(target)
        return replace(self, target)

    root.other.assign(3)
    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, 'replace', killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(2, again=True)
    resumed = _Root()
    assert Checkpoints(tmp_path, resumed, EVERY_STEP).restore().name == kept
    assert resumed.other.numpy() == value
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('every', 'saved'),
    [(Interval(seconds=30), [3, 5, 7]), (Interval(steps=3), [3, 6]), (Interval(steps=1), [1, 2, 3, 4, 5, 6, 7])],
)
def test_saves_are_due_by_time_or_by_steps(tmp_path, every, saved):
    """A step takes 10 seconds, and a save as long again."""
    now = 0
    checkpoints = Checkpoints(tmp_path, _Root(), every, clock=lambda: now)
    found = []
    for step in range(1, 8):
        now += 10
        if checkpoints.is_due(step):
            now += 10
            checkpoints.save(step)
            now += 10
            found.append(step)
    assert found == saved


@pytest.mark.parametrize('damaged_file', ['ckpt-2.index', 'ckpt-2.data-00000-of-00001'])
def test_damaged_checkpoint_is_named_and_the_one_before_is_restored(tmp_path, capsys, damaged_file):
    root = _Root()
    checkpoints = Checkpoints(tmp_path, root, EVERY_STEP)
    for step in (1, 2):
        root.other.assign(step)
        root.model.weight.assign([step, step, step])
        checkpoints.save(step)
    content = bytearray((tmp_path / 'checkpoints' / damaged_file).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / 'checkpoints' / damaged_file).write_bytes(content)

    resumed = _Root()
    assert Checkpoints(tmp_path, resumed, EVERY_STEP).restore().name == 'ckpt-1'
    assert 'ckpt-2 cannot be read' in capsys.readouterr().err
    assert resumed.other.numpy() == 1
    np.testing.assert_array_equal(resumed.model.weight, [1, 1, 1])


@pytest.mark.parametrize('record', [None, b'', b'\xff', b'garbage', b'model_checkpoint_path: "ckpt-7"'])
def test_lost_or_damaged_record_loses_no_checkpoint(tmp_path, capsys, record):
    """The newest is that with the highest number, 10 after 9; if it is damaged, the one before is restored."""
    root = _Root()
    for step in (9, 10):
        root.model.weight.assign([step, step, step])
        Checkpoints(tmp_path, root, EVERY_STEP).save(step)
    folder = tmp_path / 'checkpoints'
    (folder / 'checkpoint').unlink() if record is None else (folder / 'checkpoint').write_bytes(record)
    model = _Root().model
    assert load_model(tmp_path, model).name == 'ckpt-10'
    np.testing.assert_array_equal(model.weight, [10, 10, 10])
    assert Checkpoints(tmp_path, _Root(), EVERY_STEP).restore().name == 'ckpt-10'

    (folder / 'ckpt-10.index').write_bytes(b'damaged')
    resumed = Checkpoints(tmp_path, root, EVERY_STEP)
    assert resumed.restore().name == 'ckpt-9'
    assert 'ckpt-10 cannot be read' in capsys.readouterr().err
    resumed.save(11)
    assert _kept(tmp_path) == {'ckpt-10', 'ckpt-11'}


def test_clock_that_was_set_back_loses_no_checkpoint(tmp_path, monkeypatch):
    """TensorFlow's manager takes those that are newer than the clock for none."""
    with monkeypatch.context() as later:
        later.setattr('time.time', lambda: 2e10)
        Checkpoints(tmp_path, _Root(), EVERY_STEP).save(1)
    assert Checkpoints(tmp_path, _Root(), EVERY_STEP).restore().name == 'ckpt-1'


@pytest.mark.parametrize('record', ['', 'model_checkpoint_path: "ckpt-7"\nall_model_checkpoint_paths: "ckpt-7"'])
def test_record_without_checkpoints_is_an_error(tmp_path, record):
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'checkpoint').write_text(record)
    with pytest.raises(InputError, match=r'no checkpoint in .* can be read'):
        Checkpoints(tmp_path, _Root(), EVERY_STEP).restore()


def test_restored_run_saves_only_after_its_interval(tmp_path):
    Checkpoints(tmp_path, _Root(), EVERY_STEP).save(100)
    resumed = Checkpoints(tmp_path, _Root(), Interval(steps=7))
    resumed.restore()
    assert [step for step in range(100, 110) if resumed.is_due(step)] == [107, 108, 109]


def test_unfinished_files_of_a_killed_run_are_deleted(tmp_path):
    """TensorFlow writes into a folder `ckpt-<step>_temp`; one may stand there when the best is replaced, too."""
    root = _Root()
    Checkpoints(tmp_path, root, EVERY_STEP).save(1)
    BestCheckpoint(tmp_path, root.model).save(1, 1, nats=2.0, train_nats=1.0)
    halves = [tmp_path / folder / 'ckpt-2_temp' for folder in ('checkpoints', 'best')]
    for half in halves:
        half.mkdir()
        (half / 'part-00000-of-00001').touch()
    Checkpoints(tmp_path, root, EVERY_STEP)
    best = BestCheckpoint(tmp_path, root.model)
    assert [half.exists() for half in halves] == [False, False]
    halves[1].mkdir()
    best.save(3, 3, nats=1.0, train_nats=1.0)
    assert {path.stem for path in (tmp_path / 'best').iterdir()} == {'best', 'ckpt-3'}


def test_full_disk_is_an_error_and_the_last_checkpoint_stays(tmp_path):
    """A limit on the size of files simulates a full disk: the write fails at the same point."""
    root = _Root(size=100_000)
    checkpoints = Checkpoints(tmp_path, root, EVERY_STEP)
    checkpoints.save(1)
    root.other.assign(77.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(InputError, match=r'cannot save checkpoint 2 .*The last good one is .*ckpt-1'):
            checkpoints.save(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / 'checkpoints').glob('ckpt-2*'))
    resumed = _Root(size=100_000)
    assert Checkpoints(tmp_path, resumed, EVERY_STEP).restore().name == 'ckpt-1'
    assert resumed.other.numpy() == 5
    checkpoints.save(2)
    assert _kept(tmp_path) == {'ckpt-1', 'ckpt-2'}


@pytest.mark.parametrize('renames', [0, 1])
def test_checkpoint_is_complete_only_when_its_index_is_in_place(tmp_path, monkeypatch, capsys, renames):
    """A kill before the first or the second rename leaves nothing that looks like the checkpoint of step 2."""
    root = _Root()
    Checkpoints(tmp_path, root, EVERY_STEP).save(1)
    replace, left = os.replace, iter(range(renames))

    def killed(source, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(source, target)

    checkpoints = Checkpoints(tmp_path, root, EVERY_STEP)
    monkeypatch.setattr(os, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(2)
    monkeypatch.setattr(os, 'replace', replace)
    resumed = Checkpoints(tmp_path, root, EVERY_STEP)
    assert resumed.restore().name == 'ckpt-1'
    assert capsys.readouterr().err == '', 'a complete checkpoint 2 would be named as unreadable'
    resumed.save(2)
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == [
        'checkpoint', *(f'ckpt-{step}.{end}' for step in (1, 2) for end in ('data-00000-of-00001', 'index'))
    ]  # fmt: skip


def test_load_model_restores_the_weights(tmp_path):
    root = _Root()
    root.model.weight.assign([7.0, 8.0, 9.0])
    Checkpoints(tmp_path, root, EVERY_STEP).save(1)
    model = _Root().model
    assert load_model(tmp_path, model).name == 'ckpt-1'
    np.testing.assert_array_equal(model.weight, [7, 8, 9])


def test_unreadable_checkpoints_are_named(tmp_path):
    with pytest.raises(InputError, match='no checkpoint yet'):
        load_model(tmp_path, _Root().model)
    Checkpoints(tmp_path, _Root(), EVERY_STEP).save(1)
    with pytest.raises(InputError, match=r'no checkpoint in .* can be read'):
        Checkpoints(tmp_path, _Root(size=4), EVERY_STEP).restore()
    (tmp_path / 'checkpoints' / 'ckpt-1.index').write_bytes(b'damaged')
    with pytest.raises(InputError, match='ckpt-1 cannot be read'):
        load_model(tmp_path, _Root().model)


def test_checkpoint_without_a_variable_of_the_model_is_refused(tmp_path):
    """Such as one of a model with fewer layers: the missing variable would keep its initial value."""
    Checkpoints(tmp_path, _Root(), EVERY_STEP).save(1)
    larger = _Root()
    larger.model.another = tf.Variable(3.0)
    with pytest.raises(InputError, match=r'no checkpoint in .* can be read'):
        Checkpoints(tmp_path, larger, EVERY_STEP).restore()
    with pytest.raises(InputError, match='ckpt-1 cannot be read'):
        load_model(tmp_path, larger.model)


def test_checkpoint_of_another_shape_is_one_line(tmp_path, caplog):
    """TensorFlow logs a warning for each value that it has not restored."""
    Checkpoints(tmp_path, _Root(), EVERY_STEP).save(1)
    model = tf.Module()
    model.weight = tf.Variable(tf.zeros([7]), name='weight')
    with pytest.raises(
        InputError, match=r'ckpt-1 cannot be read: weight has the shape \[3\], but the run needs \[7\]$'
    ):
        load_model(tmp_path, model)
    assert not caplog.records


def test_load_model_prefers_the_best_checkpoint(tmp_path):
    root = _Root()
    checkpoints, best = Checkpoints(tmp_path, root, EVERY_STEP), BestCheckpoint(tmp_path, root.model)
    for step, value in ((1, 10.0), (2, 20.0), (3, 30.0)):
        root.model.weight.assign(tf.fill([3], value))
        checkpoints.save(step)
        if step < 3:
            best.save(step, step, nats=1 / step, train_nats=0.5)
    loaded = {}
    for which in (None, 'best', 'latest'):
        model = _Root().model
        loaded[which] = load_model(tmp_path, model, which).parts[-2:], model.weight[0].numpy()
    assert loaded[None] == loaded['best'] == (('best', 'ckpt-2'), 20)
    assert loaded['latest'] == (('checkpoints', 'ckpt-3'), 30)
    assert {path.stem for path in (tmp_path / 'best').iterdir()} == {'best', 'ckpt-2'}


def test_missing_or_damaged_best_checkpoint_is_named(tmp_path):
    Checkpoints(tmp_path, _Root(), EVERY_STEP).save(1)
    with pytest.raises(InputError, match=r'no best checkpoint.*--valid_fraction.*--checkpoint=latest'):
        load_model(tmp_path, _Root().model, 'best')
    (tmp_path / 'best').mkdir()
    (tmp_path / 'best' / 'best.json').write_text('{')
    with pytest.raises(InputError, match=r'best\.json cannot be read'):
        load_model(tmp_path, _Root().model)


def test_failed_rename_keeps_the_previous_best_checkpoint(tmp_path, monkeypatch):
    """`best.json` is never half written: what names the weights is put in its place when it is whole."""
    root = _Root()
    best = BestCheckpoint(tmp_path, root.model)
    best.save(1, 1, nats=2.0, train_nats=1.0)
    before = (tmp_path / 'best' / 'best.json').read_bytes()
    root.model.weight.assign([7.0, 8.0, 9.0])

    def refuse(*_):
        raise OSError('no space left')

    monkeypatch.setattr(os, 'replace', refuse)
    with pytest.raises(InputError, match=r'cannot save checkpoint 2 .*no space left'):
        best.save(2, 2, nats=1.0, train_nats=1.0)
    assert (tmp_path / 'best' / 'best.json').read_bytes() == before
    load_model(tmp_path, model := _Root().model, 'best')
    np.testing.assert_array_equal(model.weight, [0, 1, 2])


def test_recorded_best_checkpoint_is_not_written_again(tmp_path):
    """As a run does that was killed before its next checkpoint: a kill while it is replaced could tear it."""
    root = _Root()
    best = BestCheckpoint(tmp_path, root.model)
    best.save(1, 1, nats=2.0, train_nats=1.0)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'best').iterdir()}
    BestCheckpoint(tmp_path, root.model).save(1, 1, nats=2.0, train_nats=1.0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'best').iterdir()} == before


@pytest.mark.parametrize(('nats', 'kept'), [(2.5, 'ckpt-3'), (2.0, 'ckpt-3'), (1.5, 'ckpt-2')])
def test_only_a_lower_loss_replaces_the_best_checkpoint(tmp_path, nats, kept):
    """The run was killed after it had kept the best of step 3, and is now evaluated after another step."""
    root = _Root()
    BestCheckpoint(tmp_path, root.model).save(3, 3, nats=2.0, train_nats=1.0)
    BestCheckpoint(tmp_path, root.model).save(2, 2, nats=nats, train_nats=1.0)
    assert best_path(tmp_path).name == kept


def test_recorded_training_loss_is_the_mean_over_the_steps_of_the_epoch_so_far(tmp_path):
    """Of a model whose weights stay 0: all characters are equally likely."""
    trainer = trainer_of(init_scale=0.0, learning_rate=1e-12, num_epochs=2, log_every='5')
    checkpoints, per_epoch = Checkpoints(tmp_path, trainer, EVERY_STEP), trainer.windows.steps_per_epoch
    steps = []
    for progress in trainer.train(IDS):
        checkpoints.save(progress.step)
        recorded = recorded_nats(tmp_path, find(tmp_path, 'latest'), per_epoch)
        assert recorded == {'train': pytest.approx(math.log(len(VOCABULARY)), rel=1e-5), 'valid': None}
        steps.append(progress.step)
    assert {5, per_epoch, 2 * per_epoch} < set(steps)
