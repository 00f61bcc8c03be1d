"""Profiles steps of a run for the profile plugin of TensorBoard."""

import pathlib

import tensorflow as tf


class Profiler:
    """Profiles the compiled calls that contain the requested steps. A call is profiled as a whole."""

    def __init__(self, run_dir: pathlib.Path, steps: tuple[int, int] | None):
        """Profiles `steps` (first, last; last is exclusive) into `run_dir`/plugins/profile; None: no profile."""
        self._run_dir = run_dir
        self._steps = steps
        self._running = False

    def before_call(self, first: int, last: int) -> None:
        """Starts the profile if the next call, steps `first` to `last - 1`, contains a requested step."""
        if self._steps and not self._running and first < self._steps[1] and last > self._steps[0]:
            tf.profiler.experimental.start(str(self._run_dir))
            self._running = True

    def after_call(self, step: int) -> None:
        """Ends the profile if all requested steps are among the first `step` minibatches."""
        if self._running and self._steps and step >= self._steps[1]:
            self.close()

    def close(self) -> None:
        """Ends a running profile and writes it."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running, self._steps = False, None

    @property
    def missing(self) -> str | None:
        """A message if the requested steps were not trained; else None."""
        if self._steps is None:
            return None
        first, last = self._steps
        return f'no profile was written: steps {first:,} to {last:,} were not trained'
