"""Profiles: which steps are watched, and that something is written of them."""

import tensorflow as tf

from pipeline.profiler import Profiler


def test_watches_the_calls_of_the_range_and_no_others(tmp_path, monkeypatch):
    watched = []
    monkeypatch.setattr(tf.profiler.experimental, 'start', lambda logdir: watched.append('start'))
    monkeypatch.setattr(tf.profiler.experimental, 'stop', lambda: watched.append('stop'))
    profiler = Profiler(tmp_path, (10, 20))
    for step in range(4, 44, 4):
        profiler.after_step(step)
        watched.append(step)
    assert watched == [4, 8, 'start', 12, 16, 'stop', 20, 24, 28, 32, 36, 40]


def test_writes_what_tensorboard_reads(tmp_path):
    profiler = Profiler(tmp_path, (1, 100))
    profiler.after_step(1)
    tf.reduce_sum(tf.ones([100, 100]) @ tf.ones([100, 100]))
    profiler.close()
    (profile,) = tmp_path.glob('plugins/profile/*/*.xplane.pb')
    assert profile.stat().st_size > 0
