"""What a contestant reads and prints: the work, and the seconds that it took."""

import dataclasses
import json
import os
import pathlib
import re
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

STARTED = 'CHARRNN_STARTED'
"""Environment variable of a contestant: when its process was started, seconds of `time.monotonic`."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A model, its first weights and its minibatches. Shapes are those of `pipeline/model.py`."""

    settings: dict
    """cell, hidden_size, num_layers, embedding_size, init_scale, learning_rate, clip_norm."""
    ids: np.ndarray
    """`[N] int32`, the corpus."""
    starts: np.ndarray
    """`[epochs, updates, B] int64`, the first characters of the windows."""
    num_steps: int
    weights: dict[str, np.ndarray]
    """`w_xh`, `w_hh`, `b_h`, those of the layers above with `_2`, `_3` ..., `w_hq`, `b_q` and perhaps `embedding`."""

    @classmethod
    def read(cls, path: str) -> 'Task':
        with np.load(path) as file:
            weights = {name.removeprefix('weight_'): file[name] for name in file.files if name.startswith('weight_')}
            settings = json.loads(str(file['settings']))
            return cls(settings, file['ids'], file['starts'], int(file['num_steps']), weights)

    @property
    def vocabulary_size(self) -> int:
        return len(self.weights['b_q'])

    @property
    def suffixes(self) -> list[str]:
        """Of the names of each layer's weights."""
        return [f'_{number + 1}' if number else '' for number in range(self.settings['num_layers'])]

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the inputs and targets of an epoch, both `[updates, B, T] int32`."""
        windows = self.ids[self.starts[number][..., np.newaxis] + np.arange(self.num_steps + 1)]
        return windows[..., :-1], windows[..., 1:]

    def run(self, version: str, epoch: Callable[[np.ndarray, np.ndarray], float]) -> None:
        """Trains all epochs and prints one line of JSON.

        `epoch` trains on inputs and targets, `[updates, B, T]`, and returns the mean loss when all is computed.
        """
        seconds = []
        for number in range(len(self.starts)):
            windows = self.epoch(number)
            start = time.perf_counter()
            loss = epoch(*windows)
            seconds.append(time.perf_counter() - start)
            if not number:
                first_end = time.monotonic()
        report(self, version, seconds, loss, first_end)


def _peak_memory() -> int:
    """Returns the largest resident size of this process so far, bytes; ru_maxrss can be that of the process before."""
    status = pathlib.Path('/proc/self/status').read_text('ascii')
    return int(re.search(r'VmHWM:\s*(\d+) kB', status)[1]) * 1024


def report(task: Task, version: str, seconds: list[float], loss: float, first_end: float) -> None:
    """Prints one line of JSON.

    Args:
      task: what was done.
      version: name and version of the library.
      seconds: of each epoch.
      loss: mean of the last epoch, nats a character.
      first_end: when the first epoch ended, `time.monotonic`.
    """
    median = statistics.median(seconds[1:])
    found = {
        'version': f'{version}, Python {sys.version.split()[0]}',
        'epoch': median,
        'start': first_end - float(os.environ[STARTED]) - median,
        'perplexity': float(np.exp(loss)),
        'memory': _peak_memory(),
    }
    print(json.dumps(found))
