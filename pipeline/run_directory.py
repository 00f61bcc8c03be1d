"""The run directory: the record of a run, and the check that a run may resume in it."""

import contextlib
import dataclasses
import datetime
import errno
import json
import pathlib
import platform
import re
import sys
from collections.abc import Iterator

import filelock
import keras
import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.files import tensorflow_path, write_whole
from data.vocabulary import UNKNOWN, Vocabulary
from pipeline.config import Config, differences

RUNS = pathlib.Path('runs')
_LONGEST_NAME = 60  # characters
LONGER = 'To train longer, start a new run with another --run_dir'
_CONFIG, _VOCABULARY, _LOCK = 'config.json', 'vocabulary.json', '.lock'


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The contents of `config.json` and `vocabulary.json`."""

    config: Config
    vocabulary: Vocabulary
    corpus_sha256: str
    counts: tuple[int, ...]
    """Occurrences of each character of the vocabulary in the training part, by id."""


def new_run_dir(config: Config, now: datetime.datetime) -> pathlib.Path:
    """Makes a new directory, such as `runs/lyrics-random-20261123-190500`, with `-2` appended if that exists.

    Raises:
      InputError: it cannot be written.
    """
    name = f'{_plain_name(config.data.corpus)}-{config.data.sampling}-{now:%Y%m%d-%H%M%S}'
    try:
        RUNS.mkdir(exist_ok=True)
        number = 1
        while True:
            run_dir = RUNS / (f'{name}-{number}' if number > 1 else name)
            with contextlib.suppress(FileExistsError):  # another run started in the same second
                run_dir.mkdir()
                return run_dir
            number += 1
    except OSError as error:
        raise InputError(
            f'no new run can be written under {RUNS}/: {error}. Use --run_dir with a directory that can be written.'
        ) from error


def _plain_name(corpus: str) -> str:
    """Returns the last part of a path or URL in letters, digits, `_`, `.` and `-`, without the ends of text files."""
    name = re.sub(r'(\.(txt|gz|zip))+$', '', pathlib.PurePath(corpus.rstrip('/')).name, flags=re.IGNORECASE)
    return re.sub(r'[^\w.]+', '-', name).strip('-.')[:_LONGEST_NAME] or 'corpus'


def latest_run_dir() -> pathlib.Path:
    """Returns the run under `runs/` that was started or resumed last, of those with a checkpoint.

    Raises:
      InputError: there is none, or TensorFlow cannot read its directory.
    """
    run_dirs = [path.parents[1] for path in RUNS.glob('*/checkpoints/*.index')]
    if not run_dirs:
        raise InputError(
            f'there is no run with a checkpoint under {RUNS}/: train one first, or name it with --run_dir.'
        )
    return tensorflow_path('run_dir', str(max(run_dirs, key=_started)))


def _started(run_dir: pathlib.Path) -> str:
    """Returns when the run was started or resumed last, in UTC, as the run recorded it.

    A run of 24 November 2026 or before did not: the time of its checkpoints on this file system is used instead.
    """
    try:
        return json.loads((run_dir / _CONFIG).read_text('utf-8'))['started']
    except (OSError, ValueError, KeyError, TypeError):
        changed = (run_dir / 'checkpoints').stat().st_mtime
        return datetime.datetime.fromtimestamp(changed, datetime.UTC).isoformat()


def exists(run_dir: pathlib.Path) -> bool:
    """Returns whether `run_dir` holds a run."""
    return (run_dir / _CONFIG).exists()


@contextlib.contextmanager
def lock(run_dir: pathlib.Path) -> Iterator[None]:
    """Locks `run_dir` against other runs; the system releases the lock of a process that dies.

    Makes `run_dir`, and removes it at the end if no run was recorded and nothing else is in it.
    Warns on stderr, and does not lock, if the file system has no locks.

    Raises:
      InputError: another process holds the lock, or `run_dir` cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / _LOCK).touch()
    except OSError as error:
        raise _not_writable(run_dir, error) from error
    # Its soft lock would outlive a killed run, and takes the file made above for another run's.
    held = filelock.FileLock(run_dir / _LOCK, fallback_to_soft=False)
    try:
        held.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f'run_dir {str(run_dir)!r} is in use by another run: wait for it, or use another.') from error
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise _not_writable(run_dir, error) from error
        reason = f'the file system of run_dir {str(run_dir)!r} has no locks: {error}'
        print(f'warning: {reason}. Do not start a second run there.', file=sys.stderr)
    try:
        yield
    finally:
        if not exists(run_dir):  # while the lock is held: another run would lock the file that is deleted here
            (run_dir / _LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it is not empty
                run_dir.rmdir()
        held.release()


def _not_writable(run_dir: pathlib.Path, error: OSError) -> InputError:
    return InputError(f'run_dir {str(run_dir)!r} cannot be written: {error}. Use another --run_dir.')


def read(run_dir: pathlib.Path) -> RunRecord:
    """Reads the record of a run. Raises `InputError` if `run_dir` does not hold a run or its files are damaged."""
    try:
        config = json.loads((run_dir / _CONFIG).read_text('utf-8'))
        vocabulary = json.loads((run_dir / _VOCABULARY).read_text('utf-8'))
        # A run of 24 November 2026 or before has an unknown character if it has U+FFFD.
        vocabulary.setdefault('has_unknown', UNKNOWN in vocabulary['characters'])
        return RunRecord(
            Config.from_dict(_in_units(config['config'])),
            Vocabulary(vocabulary['characters'], vocabulary['has_unknown']),
            config['corpus']['sha256'],
            tuple(vocabulary['counts']),
        )
    except FileNotFoundError as error:
        raise InputError(
            f'run_dir {str(run_dir)!r} is not a run: it has no {pathlib.Path(error.filename).name}.'
        ) from error
    except InputError as error:
        raise InputError(f'run_dir {str(run_dir)!r} cannot be read: {error} Use another --run_dir.') from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'run_dir {str(run_dir)!r} cannot be read: {error!r}. Use another --run_dir.') from error


def _in_units(settings: dict) -> dict:
    """Adds units to the intervals of a run of 25 November 2026 or before, which counted epochs."""
    if 'log_every' in settings:
        return settings
    counted = {name: settings[name] for name in ('evaluate_every', 'sample_every') if name in settings}
    return settings | {name: f'{count}ep' if count else '0' for name, count in counted.items()} | {'log_every': '1ep'}


def write(run_dir: pathlib.Path, record: RunRecord, num_characters: int, now: datetime.datetime) -> None:
    """Records a run, or the new config of a run that resumes. Each file appears complete or not at all.

    Args:
      run_dir: the directory of the run.
      record: of the run.
      num_characters: of the corpus.
      now: in UTC, when the run starts or resumes.

    Raises:
      InputError: `run_dir` cannot be written.
    """
    versions = {'python': platform.python_version(), 'tensorflow': tf.__version__, 'keras': keras.__version__}
    config = {
        'config': record.config.to_dict(),
        'corpus': {'sha256': record.corpus_sha256, 'num_characters': num_characters},
        'versions': versions | {'numpy': np.__version__},
        'started': now.isoformat(),
    }
    vocabulary = dataclasses.asdict(record.vocabulary) | {'counts': record.counts}
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        _write_json(run_dir / _VOCABULARY, vocabulary)
        _write_json(run_dir / _CONFIG, config)
    except OSError as error:
        raise InputError(f'run_dir {str(run_dir)!r} cannot be written: {error}. Use another --run_dir.') from error


def check_same(run_dir: pathlib.Path, recorded: RunRecord, config: Config, corpus_sha256: str) -> None:
    """Raises `InputError` with the differences, unless a run with this config and corpus may resume in `run_dir`."""
    differing = differences(recorded.config, config)
    changed = [f'--{name} is {new!r}, was {old!r}' for name, (old, new) in differing.items()]
    if 'num_epochs' in differing:
        raise InputError(
            f'run_dir {str(run_dir)!r} holds a run whose learning rate depends on its length (schedule='
            f'{recorded.config.training.schedule}): {"; ".join(changed)}. {LONGER}.'
        )
    if not changed and corpus_sha256 != recorded.corpus_sha256:
        names = ('corpus', 'valid_corpus', 'test_corpus')
        given = ', '.join(f'--{name}={getattr(config.data, name)}' for name in names if getattr(config.data, name))
        changed = [f'the text of {given} is not the text that the run began with']
    if changed:
        raise InputError(
            f'run_dir {str(run_dir)!r} holds another run: {"; ".join(changed)}. Use the same flags and text to '
            f'resume it, or another --run_dir to start a new run.'
        )


def _write_json(path: pathlib.Path, value: dict) -> None:
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1) + '\n')
