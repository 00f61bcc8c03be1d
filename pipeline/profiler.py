"""A profile of some steps of a run, for TensorBoard's profile plugin."""

import pathlib

import tensorflow as tf


class Profiler:
    """Watches the calls that make the steps asked for; whole calls, since a call is one compiled program."""

    def __init__(self, run_dir: pathlib.Path, steps: tuple[int, int] | None):
        """Writes into `run_dir`/plugins/profile when the steps, from the first to before the last, have been made."""
        self._run_dir = run_dir
        self._steps = steps
        self._running = False

    def before_call(self, first: int, last: int) -> None:
        """Begins the profile if the call that comes makes one of the steps: its own are `first` to `last - 1`."""
        if self._steps and not self._running and first < self._steps[1] and last > self._steps[0]:
            tf.profiler.experimental.start(str(self._run_dir))
            self._running = True

    def after_call(self, step: int) -> None:
        """Ends the profile when `step` minibatches, and with them its steps, have been trained."""
        if self._running and step >= self._steps[1]:
            self.close()

    def close(self) -> None:
        """Ends a profile that is under way and writes it."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running, self._steps = False, None

    @property
    def missing(self) -> str | None:
        """Which steps have been asked for and not been made, if so."""
        return self._steps and 'no profile was written: steps {:,} to {:,} were not trained'.format(*self._steps)
