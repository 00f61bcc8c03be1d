"""Keras on TensorFlow: `Embedding`, `SimpleRNN`, `GRU` or `LSTM`, and `Dense`, trained by `fit`.

The loop over time is unrolled, which is faster.
"""

import os
import sys
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import keras
import numpy as np
import tensorflow as tf

from benchmarks.peers.task import Task, report

_CELLS = {'rnn': keras.layers.SimpleRNN, 'gru': keras.layers.GRU, 'lstm': keras.layers.LSTM}
_ORDER = {'rnn': [0], 'gru': [0, 1, 2], 'lstm': [0, 1, 3, 2]}
"""The gates of a cell in Keras's order, as numbers of ours."""


class DenseSGD(keras.optimizers.SGD):
    """Sums the rows of the embedding's gradient first: their global norm would be wrong otherwise."""

    def apply(self, grads, trainable_variables=None):
        super().apply([tf.convert_to_tensor(gradient) for gradient in grads], trainable_variables)


class Clock(keras.callbacks.Callback):
    """The seconds of each epoch, and when the first ended."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []
        self.first_end = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)
        self.first_end = self.first_end or time.monotonic()


def model(task: Task) -> keras.Model:
    """Returns the model with the first weights of the task."""
    settings = task.settings
    size, cell = settings['hidden_size'], settings['cell']
    options = {'return_sequences': True, 'unroll': True}
    if cell == 'gru':
        options['reset_after'] = False
    recurrent = [_CELLS[cell](size, **options) for _ in task.suffixes]
    made = keras.Sequential(
        [
            keras.layers.Embedding(task.vocabulary_size, size),
            *recurrent,
            keras.layers.Dense(task.vocabulary_size),
        ]
    )
    made.build([len(task.starts[0, 0]), task.num_steps])

    def gates(weights: np.ndarray) -> np.ndarray:
        parts = np.split(weights, len(_ORDER[cell]), -1)
        return np.concatenate([parts[n] for n in _ORDER[cell]], -1)

    weights = task.weights
    names = [name + suffix for suffix in task.suffixes for name in ('w_xh', 'w_hh', 'b_h')]
    of_layers = [gates(weights[name]) for name in names]
    made.set_weights([weights['embedding'], *of_layers, weights['w_hq'], weights['b_q']])
    return made


def main(path: str) -> None:
    task = Task.read(path)
    made = model(task)
    num_epochs, updates, _ = task.starts.shape
    made.compile(
        DenseSGD(task.settings['learning_rate'], global_clipnorm=task.settings['clip_norm']),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
        steps_per_execution=min(updates, 32),
    )
    epochs = [task.epoch(number) for number in range(num_epochs)]
    inputs, targets = (np.concatenate(part) for part in zip(*epochs, strict=True))
    windows = tf.data.Dataset.from_tensor_slices((inputs, targets)).prefetch(2)
    clock = Clock()
    history = made.fit(windows, epochs=num_epochs, steps_per_epoch=updates, shuffle=False, verbose=0, callbacks=[clock])
    report(task, f'Keras {keras.__version__}', clock.seconds, history.history['loss'][-1], clock.first_end)


if __name__ == '__main__':
    main(*sys.argv[1:])
