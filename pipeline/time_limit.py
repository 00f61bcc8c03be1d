"""A run that ends after a given time: its length in updates is an estimate until then."""

import time
from collections.abc import Callable

import tensorflow as tf


class TimeLimit(tf.Module):
    """Estimates the last step of a run from the time that its steps have taken; a checkpoint keeps both."""

    def __init__(self, max_seconds: int, longest: int, clock: Callable[[], float] = time.monotonic):
        """The run ends after `max_seconds`, or after the step `longest` if that comes first."""
        super().__init__()
        self._max_seconds = max_seconds
        self._longest = longest
        self._clock = clock
        self._start = clock()
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self.last_step = tf.Variable(longest, dtype=tf.int64)

    def start(self) -> None:
        """Continues the time that a restored checkpoint has."""
        self._start = self._clock() - float(self._seconds)

    def note(self, step: int) -> None:
        """Estimates `last_step` after `step` steps; it is `step` when the time is over."""
        seconds = self._clock() - self._start
        self._seconds.assign(seconds)
        expected = max(step, int(step * self._max_seconds / seconds)) if seconds else self._longest
        self.last_step.assign(min(expected, self._longest))
