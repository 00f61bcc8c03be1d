"""Checkpoints: when they are written, what they hold, what is said of one that cannot be read."""

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from pipeline.checkpoints import SECONDS_BETWEEN_SAVES, BestCheckpoint, Checkpoints, load_model


class _Root(tf.Module):
    def __init__(self, size: int = 3):
        super().__init__()
        self.model = tf.Module()
        self.model.weight = tf.Variable(tf.range(size, dtype=tf.float32))
        self.other = tf.Variable(5.0)


def _kept(run_dir) -> set[str]:
    return {path.stem for path in (run_dir / 'checkpoints').glob('*.index')}


def test_restores_the_newest_and_keeps_the_one_before(tmp_path):
    root = _Root()
    checkpoints = Checkpoints(tmp_path, root)
    assert not checkpoints.restore()
    for step in (10, 20, 30):
        root.other.assign(step)
        checkpoints.save(step)
    resumed = _Root()
    assert Checkpoints(tmp_path, resumed).restore()
    assert resumed.other.numpy() == 30
    assert _kept(tmp_path) == {'ckpt-20', 'ckpt-30'}


def test_saves_when_the_time_has_come(tmp_path):
    seconds = iter(range(0, 1000, int(SECONDS_BETWEEN_SAVES / 2)))
    checkpoints = Checkpoints(tmp_path, _Root(), clock=lambda: next(seconds))
    kept = []
    for step in range(1, 4):
        checkpoints.save_if_due(step)
        kept.append(_kept(tmp_path))
    assert kept == [set(), {'ckpt-2'}, {'ckpt-2'}]


def test_loads_the_model_alone(tmp_path):
    root = _Root()
    root.model.weight.assign([7.0, 8.0, 9.0])
    Checkpoints(tmp_path, root).save(1)
    model = _Root().model
    assert load_model(tmp_path, model).endswith('ckpt-1')
    np.testing.assert_array_equal(model.weight, [7, 8, 9])


def test_names_what_cannot_be_loaded(tmp_path):
    with pytest.raises(InputError, match='no checkpoint yet'):
        load_model(tmp_path, _Root().model)
    Checkpoints(tmp_path, _Root()).save(1)
    with pytest.raises(InputError, match='ckpt-1 cannot be read'):
        Checkpoints(tmp_path, _Root(size=4)).restore()
    (tmp_path / 'checkpoints' / 'ckpt-1.index').write_bytes(b'damaged')
    with pytest.raises(InputError, match='ckpt-1 cannot be read'):
        load_model(tmp_path, _Root().model)


def test_the_best_is_taken_unless_the_latest_is_asked_for(tmp_path):
    root = _Root()
    checkpoints, best = Checkpoints(tmp_path, root), BestCheckpoint(tmp_path, root.model)
    for step, value in ((1, 10.0), (2, 20.0), (3, 30.0)):
        root.model.weight.assign(tf.fill([3], value))
        checkpoints.save(step)
        if step < 3:
            best.save(step, step, nats=1 / step)
    loaded = {}
    for which in (None, 'best', 'latest'):
        model = _Root().model
        loaded[which] = load_model(tmp_path, model, which).rsplit('/', 2)[1:], model.weight[0].numpy()
    assert loaded[None] == loaded['best'] == (['best', 'ckpt-2'], 20)
    assert loaded['latest'] == (['checkpoints', 'ckpt-3'], 30)
    assert {path.stem for path in (tmp_path / 'best').iterdir()} == {'best', 'ckpt-2'}


def test_a_best_that_is_missing_or_damaged_is_named(tmp_path):
    Checkpoints(tmp_path, _Root()).save(1)
    with pytest.raises(InputError, match=r'no best checkpoint.*--valid_fraction.*--checkpoint=latest'):
        load_model(tmp_path, _Root().model, 'best')
    (tmp_path / 'best').mkdir()
    (tmp_path / 'best' / 'best.json').write_text('{')
    with pytest.raises(InputError, match=r'best\.json cannot be read'):
        load_model(tmp_path, _Root().model)


def test_a_best_that_is_kept_already_is_not_written_again(tmp_path):
    """As a run does that was killed before its next checkpoint: a kill while it is replaced could tear it."""
    root = _Root()
    best = BestCheckpoint(tmp_path, root.model)
    best.save(1, 1, nats=2.0)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'best').iterdir()}
    BestCheckpoint(tmp_path, root.model).save(1, 1, nats=2.0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'best').iterdir()} == before
