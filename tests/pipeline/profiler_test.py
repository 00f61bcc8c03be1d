"""Profiles: which steps are watched, and that something is written of them."""

import pytest
import tensorflow as tf

from pipeline.config import Config
from pipeline.profiler import Profiler
from pipeline.run import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ('steps', 'watched_calls'),
    [((10, 20), [8, 12, 16]), ((13, 14), [12]), ((0, 4), [0]), ((36, 99), [36]), ((40, 99), [])],
)
def test_profiles_only_the_calls_with_requested_steps(tmp_path, monkeypatch, steps, watched_calls):
    """Calls of 4 minibatches each, by their first step."""
    under_way, watched = set(), []
    monkeypatch.setattr(tf.profiler.experimental, 'start', lambda logdir: under_way.add(1))
    monkeypatch.setattr(tf.profiler.experimental, 'stop', under_way.clear)
    profiler = Profiler(tmp_path, steps)
    for step in range(0, 40, 4):
        profiler.before_call(step, step + 4)
        watched += [step] * len(under_way)
        profiler.after_call(step + 4)
    profiler.close()
    assert watched == watched_calls
    assert not under_way
    assert profiler.missing == (None if watched else 'no profile was written: steps 40 to 99 were not trained')


@pytest.mark.parametrize(('steps', 'written'), [('10:20', True), ('60:70', False)])
def test_run_writes_a_profile_or_says_that_it_did_not(tmp_path, monkeypatch, capsys, steps, written):
    """One epoch of 59 minibatches, in calls of 32 and 27."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.txt').write_text('a text of its own ' * 20)
    small = {
        'hidden_size': 4,
        'batch_size': 2,
        'num_steps': 3,
        'sample_every': '0',
        'num_epochs': 1,
        'prefixes': ('a',),
    }
    run(Config.from_dict({'corpus': 'a.txt', 'profile_steps': steps, **small}), tmp_path / 'run')
    profiles = list(tmp_path.glob('run/plugins/profile/*/*.xplane.pb'))
    assert [path.stat().st_size > 0 for path in profiles] == [True] * written
    assert ('no profile was written: steps 60 to 70 were not trained\n' in capsys.readouterr().out) != written


def test_resumed_run_does_not_ask_for_the_profile_it_has(tmp_path):
    assert Profiler(tmp_path, (3, 5), num_done=5).missing.endswith(
        'steps 3 to 5 were trained before, without a profile'
    )
    (tmp_path / 'plugins' / 'profile' / 'a').mkdir(parents=True)
    assert Profiler(tmp_path, (3, 5), num_done=5).missing is None
    assert Profiler(tmp_path, (3, 6), num_done=5).missing.endswith('steps 3 to 6 were not trained')


def test_full_disk_ends_the_profile_and_not_the_run(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    monkeypatch.setattr(tf.profiler.experimental, 'start', lambda logdir: None)
    monkeypatch.setattr(tf.profiler.experimental, 'stop', full)
    profiler = Profiler(tmp_path, (0, 4))
    profiler.before_call(0, 4)
    profiler.after_call(4)
    profiler.close()
    assert capsys.readouterr().err == 'the profile cannot be written: No space left on device\n'
    assert profiler.missing is None
