"""Saving and resuming: the trainer's variables in the run directory."""

import pathlib
import time
from collections.abc import Callable

import tensorflow as tf

from data.errors import InputError

SECONDS_BETWEEN_SAVES = 30.0
_KEPT = 2  # the newest, and the one before in case that is damaged


class Checkpoints:
    """The checkpoints of one run, `<run_dir>/checkpoints`."""

    def __init__(self, run_dir: pathlib.Path, root: tf.Module, clock: Callable[[], float] = time.monotonic):
        """`root` holds all variables that a run needs to go on; `clock` tells seconds."""
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(root=root), str(run_dir / 'checkpoints'), max_to_keep=_KEPT
        )
        self._clock = clock
        self._last_save = clock()
        self._saved_step: int | None = None

    @property
    def latest(self) -> str | None:
        """The path of the newest checkpoint, if there is one."""
        return self._manager.latest_checkpoint

    def restore(self) -> bool:
        """Loads the newest checkpoint, if there is one; tells whether there was.

        Raises:
          InputError: it cannot be read, or is one of another model.
        """
        if not self.latest:
            return False
        _restore(self._manager.checkpoint, self.latest)
        return True

    def save(self, step: int) -> None:
        """Saves what stands after `step` minibatches, unless that is saved; it is the newest from when it is whole."""
        if self._saved_step != step:
            self._manager.save(checkpoint_number=step)
        self._saved_step, self._last_save = step, self._clock()

    def save_if_due(self, step: int) -> None:
        """Saves when the last save is 30 s ago or more."""
        if self._clock() - self._last_save >= SECONDS_BETWEEN_SAVES:
            self.save(step)


def load_model(run_dir: pathlib.Path, model: tf.Module) -> str:
    """Loads the weights of a run's newest checkpoint into `model`, and nothing else; returns the checkpoint's path.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    path = tf.train.latest_checkpoint(str(run_dir / 'checkpoints'))
    if not path:
        raise InputError(f'run_dir {str(run_dir)!r} has no checkpoint yet: train it first.')
    _restore(tf.train.Checkpoint(root=tf.train.Checkpoint(model=model)), path)
    return path


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, ValueError, AssertionError) as error:
        raise InputError(f'checkpoint {path} cannot be read: {str(error).splitlines()[0]}') from error
