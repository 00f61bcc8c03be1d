"""A run that is killed at any moment, again and again, ends as the run that never was."""

import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from tests.conftest import TEXT

KILLS = 5  # of each sampling, and a SIGTERM
EPOCHS = 150
CURVES = (
    'perplexity/train',
    'loss/train',
    'gradients/global_norm',
    'gradients/clipped_fraction',
    'learning_rate',
    'perplexity/valid',
)


def _command(run_dir: str, sampling: str) -> list[str]:
    flags = [f'--run_dir={run_dir}', f'--sampling={sampling}', f'--num_epochs={EPOCHS}', '--corpus=mine.txt']
    flags += ['--hidden_size=64', '--batch_size=4', '--num_steps=8', '--sample_length=5', '--sample_every=30']
    flags += [
        '--optimizer=adam',
        '--learning_rate=0.01',
        '--schedule=cosine',
        '--clip_norm=1',
        '--checkpoint_every=7',
        '--valid_fraction=0.1',
    ]
    return [sys.executable, '-m', 'pipeline.train', *flags]


def _variables(run_dir) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run_dir / 'checkpoints'))
    bookkeeping = ('_CHECKPOINTABLE', 'save_counter')  # how often was saved is not the run's state
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith(bookkeeping)]
    return {name: reader.get_tensor(name) for name in names}


def _curves(run_dir) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run_dir))
    events.Reload()
    return {tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)] for tag in CURVES}


@pytest.mark.parametrize('sampling', ['random', 'consecutive'])
def test_killed_at_random_moments(tmp_path, program_environment, sampling):
    (tmp_path / 'mine.txt').write_text(TEXT, 'utf-8')
    chance = random.Random(f'{sampling}')
    subprocess.run(_command('unbroken', sampling), cwd=tmp_path, env=program_environment, check=True)
    for number in [signal.SIGKILL] * KILLS + [signal.SIGTERM]:
        process = subprocess.Popen(
            _command('killed', sampling), cwd=tmp_path, env=program_environment, stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()  # it is about to train
        try:
            process.wait(timeout=chance.uniform(0.5, 3))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL if number == signal.SIGKILL else 143)
    subprocess.run(_command('killed', sampling), cwd=tmp_path, env=program_environment, check=True)

    expected = _variables(tmp_path / 'unbroken')
    found = _variables(tmp_path / 'killed')
    assert found.keys() == expected.keys()
    assert any(name.startswith('optimizer/_variables') for name in expected)  # Adam's moments are among them
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert _curves(tmp_path / 'killed') == _curves(tmp_path / 'unbroken')
    assert [step for step, _ in _curves(tmp_path / 'killed')['loss/train']] == list(range(1, EPOCHS + 1))
