"""A profile of some steps of a run, for TensorBoard's profile plugin."""

import pathlib

import tensorflow as tf


class Profiler:
    """Watches the calls that make the steps asked for; whole calls, since a call is one compiled program."""

    def __init__(self, run_dir: pathlib.Path, steps: tuple[int, int] | None):
        """Writes into `run_dir`/plugins/profile when the steps have been made."""
        self._run_dir = run_dir
        self._steps = steps
        self._running = False

    def after_step(self, step: int) -> None:
        """Begins or ends the profile, now that `step` minibatches have been trained."""
        if self._steps and not self._running and self._steps[0] <= step < self._steps[1]:
            tf.profiler.experimental.start(str(self._run_dir))
            self._running = True
        elif self._running and step >= self._steps[1]:
            self.close()

    def close(self) -> None:
        """Ends a profile that is under way and writes it."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running, self._steps = False, None
