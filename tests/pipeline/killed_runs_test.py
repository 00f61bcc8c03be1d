"""A run that is killed again and again at any moment ends equal to an unbroken run.

Of three kills, one comes at the start, mostly during compilation, and two come between or within saves. The moments are
fractions of the duration of the unbroken run, so that a fast machine does not end the killed run before its last kill.
"""

import json
import pathlib
import random
import signal
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from pipeline.checkpoints import best_path
from tests import programs
from tests.conftest import TEXT

pytestmark = pytest.mark.slow

KILLS = 3  # of each sampling, and a SIGTERM
EPOCHS = 90
CURVES = {
    'train': ('perplexity', 'loss', 'gradients/global_norm', 'gradients/clipped_fraction', 'learning_rate'),
    'valid': ('perplexity', 'loss'),
}


def _flags(run_dir: str, sampling: str, jit: bool) -> list[str]:
    """With consecutive sampling, things are due within epochs of 13 minibatches, too."""
    flags = [
        f'--run_dir={run_dir}',
        f'--sampling={sampling}',
        f'--jit={jit}',
        f'--num_epochs={EPOCHS}',
        '--corpus=mine.txt',
    ]
    flags += ['--hidden_size=64', '--batch_size=4', '--num_steps=8', '--sample_length=5', '--sample_every=30ep']
    flags += [
        '--optimizer=adam',
        '--learning_rate=0.01',
        '--schedule=cosine',
        '--clip_norm=1',
        '--checkpoint_every=7',
        '--valid_fraction=0.1',
    ]
    if sampling == 'consecutive':
        flags += ['--evaluate_every=4', '--log_every=10']
    return flags


def _variables(checkpoint: str) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(checkpoint)
    bookkeeping = ('_CHECKPOINTABLE', 'save_counter')  # how often was saved is not the run's state
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith(bookkeeping)]
    return {name: reader.get_tensor(name) for name in names}


def _started(*flags: str, **where) -> programs.Program:
    """Returns a run that is about to compile."""
    process = programs.Program('pipeline.train', *flags, **where)
    process.stdout.readline()
    return process


def _wait_for_a_save(process: programs.Program, run_dir: pathlib.Path) -> None:
    """Returns when the run that is under way has saved once more, or has ended."""
    newest, deadline = run_dir / 'checkpoints' / 'checkpoint', time.monotonic() + 120

    def saved() -> int:
        return newest.stat().st_mtime_ns if newest.exists() else 0

    before = saved()
    while saved() == before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def _curves(run_dir: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    curves = {}
    for part, tags in CURVES.items():
        events = EventAccumulator(str(run_dir / part))
        events.Reload()
        for tag in tags:
            points = events.Tensors(tag)
            curves[f'{part}/{tag}'] = [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in points]
    return curves


def _metrics(run_dir: pathlib.Path) -> list[dict]:
    lines = (run_dir / 'metrics.jsonl').read_text('utf-8').splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != 'seconds'} for line in lines]


@pytest.mark.parametrize(('sampling', 'jit'), [('random', True), ('consecutive', False)])
def test_run_killed_at_random_moments_equals_an_unbroken_run(tmp_path, program_environment, sampling, jit):
    (tmp_path / 'mine.txt').write_text(TEXT, 'utf-8')
    chance = random.Random(f'{sampling}')
    where = {'cwd': tmp_path, 'env': program_environment}
    process, start = _started(*_flags('unbroken', sampling, jit), **where), time.monotonic()
    process.communicate()
    assert process.wait() == 0
    duration = time.monotonic() - start
    for count, number in enumerate([signal.SIGKILL] * KILLS + [signal.SIGTERM]):
        process = _started(*_flags('killed', sampling, jit), **where)
        if count % 3:
            _wait_for_a_save(process, tmp_path / 'killed')
        try:
            process.wait(timeout=duration * (chance.uniform(0, 0.1) if count % 3 else chance.uniform(0.1, 0.3)))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        process.communicate()
        assert process.wait() in (0, -signal.SIGKILL if number == signal.SIGKILL else 143)
    last = programs.run('pipeline.train', *_flags('killed', sampling, jit), **where)
    assert last.returncode == 0, last.stderr
    assert 'resumes after epoch' in last.stdout

    expected = _variables(str(tmp_path / 'unbroken' / 'checkpoints'))
    assert any(name.startswith('optimizer/_variables') for name in expected)  # Adam's moments are among them
    _assert_same(_variables(str(tmp_path / 'killed' / 'checkpoints')), expected)
    records = {name: (tmp_path / name / 'best' / 'best.json').read_text() for name in ('unbroken', 'killed')}
    assert records['killed'] == records['unbroken']
    _assert_same(_variables(str(best_path(tmp_path / 'killed'))), _variables(str(best_path(tmp_path / 'unbroken'))))
    assert _curves(tmp_path / 'killed') == _curves(tmp_path / 'unbroken')
    killed, unbroken = (_metrics(tmp_path / name) for name in ('killed', 'unbroken'))
    assert killed == unbroken
    steps_per_epoch = killed[-1]['step'] // EPOCHS
    if sampling == 'random':
        places = list(range(1, EPOCHS + 1))
        assert [line['epoch'] for line in killed] == places
    else:
        last = EPOCHS * steps_per_epoch
        places = [step for step in range(1, last + 1) if step % 4 == 0 or step % 10 == 0 or step == last]
        assert [line['step'] for line in killed] == places
        assert [line['step'] for line in killed if 'valid_loss' in line] == [
            p for p in places if p % 4 == 0 or p == last
        ]
    for name, curve in _curves(tmp_path / 'killed').items():
        assert (sampling == 'consecutive' and name.startswith('valid')) or [step for step, _ in curve] == places
