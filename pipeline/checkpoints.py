"""Saving and resuming: the trainer's variables in the run directory, and beside them the best weights so far."""

import contextlib
import json
import math
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from data.errors import InputError
from data.files import write_whole
from pipeline.config import Interval

_NATS = {'train': 'train_nats_per_character', 'valid': 'nats_per_character'}
_KEPT = 2  # the newest, and the one before in case that is damaged


class Checkpoints:
    """The checkpoints of one run, `<run_dir>/checkpoints`."""

    def __init__(
        self,
        run_dir: pathlib.Path,
        root: tf.Module,
        every: Interval,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`root` holds all variables that a run needs to go on; `clock` tells seconds.

        What a killed run left half done is taken away or put right: nobody else may be writing there.

        Raises:
          InputError: TensorFlow's record of the checkpoints cannot be read, and there are none.
        """
        self._directory = run_dir / 'checkpoints'
        _remove(self._directory.glob('*_temp'))
        _mend_record(self._directory)
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(root=root), str(self._directory), max_to_keep=_KEPT
        )
        self._every = every
        self._clock = clock
        self._last_save = clock()
        self._saved_step = 0

    def restore(self) -> str | None:
        """Loads the newest checkpoint that can be read, and returns its path; None if there is none.

        One that cannot be read is named on stderr.

        Raises:
          InputError: there are some, but none can be read.
        """
        paths = _paths(self._directory)[::-1]  # the manager forgets those that are newer than the clock
        for path in paths:
            try:
                _restore(self._manager.checkpoint, path)
            except InputError as error:
                print(f'{error}. Trying the one before.', file=sys.stderr)
            else:
                self._saved_step = step_of(pathlib.Path(path))
                return path
        if paths:
            raise _none_readable(self._directory)
        return None

    def is_due(self, step: int) -> bool:
        """Whether so many steps, or so much time, have passed since the last save."""
        if self._every.steps:
            return step - self._saved_step >= self._every.steps
        return self._clock() - self._last_save >= self._every.seconds

    def save(self, step: int) -> None:
        """Saves what stands after `step` minibatches, unless that is saved; it is the newest from when it is whole.

        Raises:
          InputError: it cannot be written, as on a full disk; the ones before are as they were.
        """
        if self._saved_step != step:
            with _saving(self._directory, step, self._manager.latest_checkpoint):
                self._manager.save(checkpoint_number=step)
        self._saved_step, self._last_save = step, self._clock()


class BestCheckpoint:
    """The weights of the lowest held-out loss, `<run_dir>/best`, and what `best.json` there says of them."""

    def __init__(self, run_dir: pathlib.Path, model: tf.Module):
        """What a killed run left half written is taken away: nobody else may be writing there."""
        self._folder = run_dir / 'best'
        _remove(self._folder.glob('*_temp'))
        self._checkpoint = tf.train.Checkpoint(root=tf.train.Checkpoint(model=model))

    def save(self, step: int, epoch: int, nats: float, train_nats: float) -> None:
        """Keeps the weights as they stand instead of those before, unless these are recorded as no worse.

        `nats` a character are those of the held-out part, which decide, `train_nats` those of the epoch's training.

        They are the best from when `best.json` names them, which is after they are whole: if anything fails before, the
        ones before are still there. A run that was killed between this and its next checkpoint comes here again with
        the same weights, and finds them kept; evaluated after other epochs than before, maybe with worse ones.

        Raises:
          InputError: they cannot be written, as on a full disk.
        """
        path, before = self._folder / f'ckpt-{step}', best_path(self._folder.parent)
        recorded = _best_record(self._folder.parent) or {}
        if before == str(path) or recorded.get('nats_per_character', math.inf) <= nats:
            return
        record = {'checkpoint': path.name, 'step': step, 'epoch': epoch, 'nats_per_character': nats}
        record['train_nats_per_character'] = train_nats
        with _saving(self._folder, step, before):
            self._checkpoint.write(str(path))
            write_whole(self._folder / 'best.json', json.dumps(record) + '\n')
        _remove(old for old in self._folder.glob('ckpt-*') if old.stem != path.name)


@contextlib.contextmanager
def _saving(folder: pathlib.Path, step: int, last_good: str | None) -> Iterator[None]:
    """Says for people what keeps `folder`/ckpt-`step` from being written, and takes away what is there of it."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        _remove(folder.glob(f'ckpt-{step}[._]*'))  # it may be what fills the disk
        raise InputError(
            f'cannot save checkpoint {step} in {folder}: {str(error).splitlines()[0]}. The last good one is '
            f'{last_good}. Make room there and run the same command to go on.'
        ) from error


def _remove(paths: Iterable[pathlib.Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _recorded_paths(folder: pathlib.Path) -> list[str]:
    """The checkpoints that TensorFlow's record of them names, oldest first; none if it is lost or cannot be read."""
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # it is empty, or no text
        return []
    return list(state.all_model_checkpoint_paths) if state else []


def _paths(folder: pathlib.Path) -> list[str]:
    """The checkpoints, oldest first: those recorded, or, where none of them is there, those that are."""
    recorded = _recorded_paths(folder)
    if any(pathlib.Path(f'{path}.index').exists() for path in recorded):
        return recorded
    found = (path.with_suffix('') for path in folder.glob('*.index') if re.fullmatch(r'ckpt-\d+', path.stem))
    return [str(path) for path in sorted(found, key=step_of)] or recorded


def _mend_record(folder: pathlib.Path) -> None:
    """Records the checkpoints that are there if the record is lost or damaged: TensorFlow would begin from nothing."""
    recorded, paths, record = _recorded_paths(folder), _paths(folder), folder / 'checkpoint'
    if paths == recorded:
        if not paths and record.exists():
            raise _none_readable(folder)
        return
    names = [pathlib.Path(path).name for path in paths]
    print(f'{record} is lost or damaged; there are {", ".join(names)}.', file=sys.stderr)
    # TensorFlow deletes old ones only if their times, which are of no other use, are after `last_preserved_timestamp`.
    every = (f'all_model_checkpoint_paths: "{name}"\nall_model_checkpoint_timestamps: 1\n' for name in names)
    write_whole(record, f'model_checkpoint_path: "{names[-1]}"\n{"".join(every)}')


def _none_readable(folder: pathlib.Path) -> InputError:
    return InputError(f'no checkpoint in {folder} can be read. Use another --run_dir.')


def best_path(run_dir: pathlib.Path) -> str | None:
    """The path of the run's best checkpoint, if it has kept one. Raises `InputError` if its record is damaged."""
    record = _best_record(run_dir)
    return str(run_dir / 'best' / record['checkpoint']) if record else None


def _best_record(run_dir: pathlib.Path) -> dict | None:
    path = run_dir / 'best' / 'best.json'
    try:
        record = json.loads(path.read_text('utf-8'))
        return record if record['checkpoint'] else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} cannot be read: {error!r}. Delete it, and the run has only its latest.') from error


def step_of(path: pathlib.Path) -> int:
    """Minibatches trained when a checkpoint, `.../ckpt-<step>`, was written."""
    return int(path.name.rpartition('-')[2])


def recorded_nats(run_dir: pathlib.Path, path: pathlib.Path, steps_per_epoch: int) -> dict[str, float | None]:
    """What a run has recorded of the weights in one of its checkpoints, nats a character.

    Args:
      run_dir: the run.
      path: of the checkpoint, one of the latest or the best.
      steps_per_epoch: minibatches.

    Returns:
      train: the mean over the checkpoint's epoch as far as it had come, while the weights moved.
      valid: the held-out part's, which only the best checkpoint knows of itself. None for what is not recorded.
    """
    record, step = _best_record(run_dir) or {}, step_of(path)
    same = record.get('step') == step
    nats = {name: record.get(key) if same else None for name, key in _NATS.items()}
    if path.parent.name == 'checkpoints':
        reader = tf.train.load_checkpoint(str(path))
        sums = reader.get_tensor('epoch_sums/.ATTRIBUTES/VARIABLE_VALUE')
        nats['train'] = float(sums[0]) / ((step - 1) % steps_per_epoch + 1)
    return nats


def load_model(run_dir: pathlib.Path, model: tf.Module, which: str | None = None) -> str:
    """Loads the weights of one of a run's checkpoints into `model`, and nothing else; returns the checkpoint's path.

    Args:
      run_dir: the run.
      model: takes the weights.
      which: one of `config.CHECKPOINTS`; None takes the best if the run has kept one, else the latest.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    best = None if which == 'latest' else best_path(run_dir)
    if which == 'best' and not best:
        raise InputError(
            f'run_dir {str(run_dir)!r} has no best checkpoint: only a run with --valid_fraction keeps one, from the '
            f'first evaluation on (--evaluate_every). Take --checkpoint=latest.'
        )
    path = best or next(reversed(_paths(run_dir / 'checkpoints')), None)
    if not path:
        raise InputError(f'run_dir {str(run_dir)!r} has no checkpoint yet: train it first.')
    _restore(tf.train.Checkpoint(root=tf.train.Checkpoint(model=model)), path)
    return path


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        checkpoint.read(path).assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, ValueError, AssertionError) as error:
        raise InputError(f'checkpoint {path} cannot be read: {str(error).splitlines()[0]}') from error
