"""Checkpoints of a run: the latest, from which it resumes, and the best, with the lowest held-out loss.

Both are directories of files `ckpt-<step>` and a record. A checkpoint is written aside and appears complete or not at
all: its `.index` is renamed last, and the record is written after that.
"""

import contextlib
import json
import math
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import tensorflow as tf

from data.errors import InputError
from data.files import write_whole
from pipeline.intervals import Interval

_NATS = {'train': 'train_nats_per_character', 'valid': 'nats_per_character'}
_VALUE = '{}/.ATTRIBUTES/VARIABLE_VALUE'  # of a variable of the trainer
_KEPT = 2  # the newest, and the one before in case the newest is damaged


class _Directory:
    """Writes checkpoints of `root` into one directory."""

    def __init__(self, path: pathlib.Path, root: tf.Module, record: str):
        """Deletes what a killed run left unfinished; no other process may write there. `record`: a file name."""
        self.path = path
        self.checkpoint = tf.train.Checkpoint(root=root)
        self._record = path / record
        _remove(path.glob('*_temp'))

    def save(self, step: int, record: str, keep: Collection[str]) -> None:
        """Writes `ckpt-<step>`, then the record; then deletes all other checkpoints except `keep`.

        Raises:
          InputError: they cannot be written, as on a full disk; the checkpoints before are unchanged.
        """
        name = f'ckpt-{step}'
        aside = self.path / f'{name}_temp'
        with self._errors(step, aside):
            self.checkpoint.write(str(aside / name))
            # Without its index, a checkpoint of the same step is gone: never is a part of it with a part of this one.
            (self.path / f'{name}.index').unlink(missing_ok=True)
            for file in sorted(aside.iterdir(), key=lambda file: file.suffix == '.index'):
                file.replace(self.path / file.name)
            write_whole(self._record, record)
        _remove([aside, *(file for file in self.path.glob('ckpt-*') if file.stem not in {name, *keep})])

    @contextlib.contextmanager
    def _errors(self, step: int, aside: pathlib.Path) -> Iterator[None]:
        """Turns errors into `InputError`, and deletes what was written: it may be what fills the disk."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            _remove([aside])
            raise InputError(
                f'cannot save checkpoint {step} in {self.path}: {str(error).splitlines()[0]}. The last good one is '
                f'{_newest(self.path)}. Make room there and run the same command to resume.'
            ) from error


class Checkpoints:
    """The latest checkpoints of one run, `<run_dir>/checkpoints`."""

    def __init__(
        self,
        run_dir: pathlib.Path,
        root: tf.Module,
        every: Interval,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`root` holds all variables that resuming needs; `every` is in steps or seconds; `clock` returns seconds.

        Raises:
          InputError: the directory has a record, but no checkpoint.
        """
        self._directory = _Directory(run_dir / 'checkpoints', root, 'checkpoint')
        if not self._paths() and (self._directory.path / 'checkpoint').exists():
            raise self._none_readable()
        self._every = every
        self._clock = clock
        self._last_save = clock()
        self._saved_step = 0

    def restore(self) -> pathlib.Path | None:
        """Loads the newest readable checkpoint and returns its path, or None if there is none.

        Each unreadable checkpoint is named on stderr.

        Raises:
          InputError: there are checkpoints, but none is readable.
        """
        for path in reversed(self._paths()):
            try:
                _restore(self._directory.checkpoint, path)
            except InputError as error:
                print(f'{error}. Trying the one before.', file=sys.stderr)
            else:
                self._saved_step = step_of(path)
                return path
        if self._paths():
            raise self._none_readable()
        return None

    def is_due(self, step: int) -> bool:
        """Returns whether the interval has passed since the last save."""
        if self._every.steps:
            return step - self._saved_step >= self._every.steps
        return self._clock() - self._last_save >= self._every.seconds

    def save(self, step: int, *, again: bool = False) -> None:
        """Saves the state after `step` minibatches, and keeps the checkpoint before it.

        `again`: also if that step is saved, whose state has changed since.

        Raises:
          InputError: it cannot be written, as on a full disk; the checkpoints before are unchanged.
        """
        if self._saved_step != step or again:
            before = [path.name for path in self._paths() if step_of(path) < step][1 - _KEPT :]
            names = [*before, f'ckpt-{step}']
            every = ''.join(f'all_model_checkpoint_paths: "{name}"\n' for name in names)
            self._directory.save(step, f'model_checkpoint_path: "{names[-1]}"\n{every}', keep=before)
        self._saved_step, self._last_save = step, self._clock()

    def _paths(self) -> list[pathlib.Path]:
        return _paths(self._directory.path)

    def _none_readable(self) -> InputError:
        return InputError(f'no checkpoint in {self._directory.path} can be read. Use another --run_dir.')


class BestCheckpoint:
    """The weights with the lowest held-out loss, `<run_dir>/best`; `best.json` there is their record."""

    def __init__(self, run_dir: pathlib.Path, model: tf.Module):
        self._run_dir = run_dir
        self._directory = _Directory(run_dir / 'best', tf.train.Checkpoint(model=model), 'best.json')

    def save(self, step: int, epoch: int, nats: float, train_nats: float) -> None:
        """Replaces the recorded weights by the current ones, unless the record says that those are at least as good.

        The record decides because a run that was killed after this save repeats it, with the same weights or, after
        other epochs than before, with worse ones.

        Args:
          step: minibatches trained.
          epoch: epochs trained.
          nats: loss on the held-out part, per character.
          train_nats: loss of the epoch in training, per character.

        Raises:
          InputError: they cannot be written, as on a full disk; the ones before are unchanged.
        """
        recorded = _best_record(self._run_dir) or {}
        if recorded.get('nats_per_character', math.inf) <= nats:
            return
        record = {'checkpoint': f'ckpt-{step}', 'step': step, 'epoch': epoch, 'nats_per_character': nats}
        record['train_nats_per_character'] = train_nats
        self._directory.save(step, json.dumps(record) + '\n', keep=())


def _remove(paths: Iterable[pathlib.Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _paths(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the complete checkpoints, oldest first."""
    found = (path.with_suffix('') for path in directory.glob('*.index') if re.fullmatch(r'ckpt-\d+', path.stem))
    return sorted(found, key=step_of)


def _newest(directory: pathlib.Path) -> pathlib.Path | None:
    return next(reversed(_paths(directory)), None)


def best_path(run_dir: pathlib.Path) -> pathlib.Path | None:
    """Returns the best checkpoint of the run; None: it has none. Raises `InputError` if its record is damaged."""
    record = _best_record(run_dir)
    return run_dir / 'best' / record['checkpoint'] if record else None


def _best_record(run_dir: pathlib.Path) -> dict | None:
    path = run_dir / 'best' / 'best.json'
    try:
        record = json.loads(path.read_text('utf-8'))
        return record if record['checkpoint'] else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} cannot be read: {error!r}. Delete it; the run then has only its latest.') from error


def step_of(path: pathlib.Path) -> int:
    """Returns the number of minibatches trained before the checkpoint `.../ckpt-<step>`."""
    return int(path.name.rpartition('-')[2])


def recorded_nats(run_dir: pathlib.Path, path: pathlib.Path, steps_per_epoch: int) -> dict[str, float | None]:
    """Returns the losses that a run has recorded of one of its checkpoints, in nats per character.

    Args:
      run_dir: the run.
      path: the checkpoint, one of the latest or the best.
      steps_per_epoch: minibatches.

    Returns:
      train: the mean over the epoch up to the checkpoint, while the weights moved.
      valid: the loss on the held-out part; only the best checkpoint records it. None: not recorded.
    """
    record, step = _best_record(run_dir) or {}, step_of(path)
    same = record.get('step') == step
    nats = {name: record.get(key) if same else None for name, key in _NATS.items()}
    if path.parent.name == 'checkpoints':
        reader = tf.train.load_checkpoint(str(path))
        sums = reader.get_tensor(_VALUE.format('epoch_sums'))
        nats['train'] = float(sums[0]) / ((step - 1) % steps_per_epoch + 1)
    return nats


def load_model(run_dir: pathlib.Path, model: tf.Module, which: str | None = None) -> pathlib.Path:
    """Loads the weights of a checkpoint into `model` and returns the path of the checkpoint.

    Args:
      run_dir: the run.
      model: receives the weights.
      which: one of `config.CHECKPOINTS`; None: the best if the run has one, else the latest.

    Raises:
      InputError: the run does not have that checkpoint, or it cannot be read.
    """
    path = find(run_dir, which)
    load_weights(path, model)
    return path


def find(run_dir: pathlib.Path, which: str | None = None) -> pathlib.Path:
    """Returns the path of a checkpoint of a run. Raises `InputError` if the run does not have it; see `load_model`."""
    best = None if which == 'latest' else best_path(run_dir)
    if which == 'best' and not best:
        raise InputError(
            f'run_dir {str(run_dir)!r} has no best checkpoint: only a run with --valid_fraction keeps one, from its '
            f'first evaluation on (--evaluate_every). Use --checkpoint=latest.'
        )
    path = best or _newest(run_dir / 'checkpoints')
    if not path:
        raise InputError(f'run_dir {str(run_dir)!r} has no checkpoint yet: train it, or wait until it saves one.')
    return path


def load_weights(path: pathlib.Path, model: tf.Module) -> None:
    """Loads the weights of a checkpoint into `model`. Raises `InputError` if it cannot be read."""
    with _reading(path):
        reader = tf.train.load_checkpoint(str(path))
        part = 'averaged' if reader.has_tensor(_VALUE.format('averaged/b_q')) else 'model'
        _check_shapes(reader.get_variable_to_shape_map(), model, part)
    _restore(tf.train.Checkpoint(root=tf.train.Checkpoint(**{part: model})), path)


def _check_shapes(shapes: Mapping[str, list[int]], model: tf.Module, part: str) -> None:
    """Raises `ValueError` for a weight of another shape; TensorFlow would add warnings to its own error."""
    for variable in model.trainable_variables:
        name = variable.name.split(':')[0]
        found = shapes.get(_VALUE.format(f'{part}/{name}'), variable.shape.as_list())
        if found != variable.shape.as_list():
            raise ValueError(f'{name} has the shape {found}, but the run needs {variable.shape.as_list()}')


def _restore(checkpoint: tf.train.Checkpoint, path: pathlib.Path) -> None:
    with _reading(path):
        status = checkpoint.read(str(path)).expect_partial()
        if not _is_of_an_old_run(path):
            status.assert_existing_objects_matched()


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    """Raises `InputError`, which names the checkpoint, for an error of TensorFlow."""
    try:
        yield
    except (tf.errors.OpError, ValueError, AssertionError) as error:
        raise InputError(f'checkpoint {path} cannot be read: {str(error).splitlines()[0]}') from error


def _is_of_an_old_run(path: pathlib.Path) -> bool:
    """Returns whether a run of 25 November 2026 or before wrote this: it lacks the trainer's `reported_step`."""
    reader = tf.train.load_checkpoint(str(path))
    return reader.has_tensor(_VALUE.format('epoch_sums')) and not reader.has_tensor(_VALUE.format('reported_step'))
