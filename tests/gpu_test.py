"""What only a GPU can show: CHARRNN_TEST_GPU=1 make test ARGS=tests/gpu_test.py. Skipped without."""

import numpy as np
import pytest
import tensorflow as tf

from data.ids import Ids
from data.windows import Windows
from pipeline import devices
from pipeline.config import ModelConfig, TrainingConfig
from pipeline.model import CharRNN
from pipeline.trainer import Trainer

pytestmark = pytest.mark.skipif(not tf.config.list_physical_devices('GPU'), reason='needs a GPU and CHARRNN_TEST_GPU=1')

V, N, B, T = 101, 4000, 16, 12
VARIANTS = {
    'rnn': {},
    'consecutive': {'sampling': 'consecutive'},
    'context': {'sampling': 'consecutive', 'bptt_windows': 3},
    'gru': {'cell': 'gru', 'optimizer': 'adamw', 'learning_rate': 0.003, 'weight_decay': 0.01},
    'lstm': {'cell': 'lstm', 'num_layers': 2, 'dropout': 0.2, 'optimizer': 'adam', 'learning_rate': 0.003},
    'rmsprop': {'optimizer': 'rmsprop', 'learning_rate': 0.003},
    'momentum': {'momentum': 0.9},
}


def _trainer(*, jit: bool, cell='rnn', num_layers=1, dropout=0.0, sampling='random', bptt_windows=1, **settings):
    model = CharRNN(ModelConfig(cell=cell, hidden_size=48, num_layers=num_layers, dropout=dropout), V, seed=1)
    windows = Windows(N, B, T, sampling, context=bptt_windows - 1)
    return Trainer(model, windows, TrainingConfig(num_epochs=2, jit=jit, bptt_windows=bptt_windows, **settings))


@pytest.fixture(scope='module', autouse=True)
def device() -> str:
    return devices.prepare()


@pytest.mark.parametrize('name', VARIANTS)
def test_gpu_trains_as_the_cpu(name):
    """The losses of two epochs, compiled on the GPU and step by step on the CPU."""
    ids = Ids.of(np.random.default_rng(0).integers(0, V, N))
    found = [progress.epoch_means.loss for progress in _trainer(jit=True, **VARIANTS[name]).train(ids)]
    with tf.device('CPU:0'):
        expected = [progress.epoch_means.loss for progress in _trainer(jit=False, **VARIANTS[name]).train(ids)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_first_weights_are_the_same_bits_on_each_device():
    on_gpu = CharRNN(ModelConfig(hidden_size=64), V, seed=1)
    with tf.device('CPU:0'):
        on_cpu = CharRNN(ModelConfig(hidden_size=64), V, seed=1)
    for found, expected in zip(on_gpu.trainable_variables, on_cpu.trainable_variables, strict=True):
        np.testing.assert_array_equal(found, expected)
