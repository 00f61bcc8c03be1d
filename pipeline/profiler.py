"""Profiles steps of a run for the profile plugin of TensorBoard."""

import pathlib
import sys

import tensorflow as tf


class Profiler:
    """Profiles the compiled calls that contain the requested steps. A call is profiled as a whole."""

    def __init__(self, run_dir: pathlib.Path, steps: tuple[int, int] | None, num_done: int = 0):
        """Profiles `steps` (first, last; last is exclusive) into `run_dir`/plugins/profile; None: no profile.

        `num_done`: steps trained before; if they include all `steps`, a profile in `run_dir` is taken for theirs.
        """
        self._run_dir = run_dir
        self._steps = steps
        self._trained_before = steps is not None and steps[1] <= num_done
        if self._trained_before and any(run_dir.glob('plugins/profile/*')):
            self._steps = None
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
            self._running, self._steps = False, None
            try:
                tf.profiler.experimental.stop()
            except (OSError, tf.errors.OpError) as error:  # as on a full disk
                print(f'the profile cannot be written: {str(error).splitlines()[0]}', file=sys.stderr)

    @property
    def missing(self) -> str | None:
        """A message if the requested steps were not trained; else None."""
        if self._steps is None:
            return None
        reason = 'were trained before, without a profile' if self._trained_before else 'were not trained'
        return f'no profile was written: steps {self._steps[0]:,} to {self._steps[1]:,} {reason}'
