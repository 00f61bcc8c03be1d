"""Version directories, `<model_dir>/<integer>`, as TensorFlow Serving keeps them.

A server may look at any moment: a version comes and goes by one rename, and never stands there half.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator

from data.errors import InputError

LARGEST = 2**63 - 1  # requests name a version by an int64

# Files in a version directory.
SAVED_MODEL = pathlib.PurePath('saved_model.pb')
DESCRIPTION = pathlib.PurePath('assets.extra', 'charrnn.json')
WARMUP_REQUESTS = pathlib.PurePath('assets.extra', 'tf_serving_warmup_requests')

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def versions(model_dir: pathlib.Path) -> dict[int, pathlib.Path]:
    """The versions under `model_dir` and their directories, in order; `00000123` is version 123.

    A folder that is not there has none, and a number above `LARGEST` is no version.

    Raises:
      InputError: `model_dir`, or what it holds, cannot be looked at.
    """
    with _reading(model_dir):
        named = [path for path in sorted(_entries(model_dir)) if re.fullmatch('[0-9]+', path.name)]
        found = [path for path in named if int(path.name) <= LARGEST and stat.S_ISDIR(_mode(path))]
    return dict(sorted((int(path.name), path) for path in found))


def newest_version(model_dir: pathlib.Path) -> pathlib.Path:
    """The directory of the highest version, or `model_dir` where that is one.

    Raises:
      InputError: there is none, or it cannot be looked for.
    """
    if is_version(model_dir):
        return model_dir
    found = versions(model_dir)
    if not found:
        raise InputError(
            f'model_dir {str(model_dir)!r} holds no exported model: make one with python -m export.saved_model.'
        )
    return found[max(found)]


def is_version(directory: pathlib.Path) -> bool:
    """Whether a SavedModel lies in `directory` itself. Raises `InputError` where that cannot be looked at."""
    with _reading(directory):
        return bool(_mode(directory / SAVED_MODEL))


def add(aside: pathlib.Path, model_dir: pathlib.Path) -> pathlib.Path:
    """Renames `aside`, which is whole, to a version above the highest under `model_dir`; 1 at first.

    Of two exports at the same moment the slower one gets the number after.

    Raises:
      InputError: `model_dir` cannot be looked at, or has the largest version there can be.
      OSError: it cannot be renamed.
    """
    for number in range(max(versions(model_dir), default=0) + 1, LARGEST + 1):
        try:
            return aside.rename(model_dir / str(number))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
    raise InputError(f'model_dir {str(model_dir)!r} has version {LARGEST}, the largest there can be: remove that one.')


def remove_old(model_dir: pathlib.Path, keep: int) -> list[pathlib.Path]:
    """Removes all but the `keep` highest versions (0: removes none), the lowest first; returns what it removed.

    Another export may do the same at the same moment: each version is removed, and returned, by one of them.

    Raises:
      InputError: one cannot be removed.
    """
    return [path for path in (list(versions(model_dir).values())[:-keep] if keep else []) if _remove(path)]


def _remove(path: pathlib.Path) -> bool:
    """Whether there was still something to remove. Raises `InputError` where it cannot be removed."""
    try:
        aside = pathlib.Path(tempfile.mkdtemp(prefix='removing-', dir=path.parent))
        try:
            path.rename(aside / path.name)
        except FileNotFoundError:
            return False
        finally:
            shutil.rmtree(aside)
    except OSError as error:
        raise InputError(f'{path} cannot be removed: {error}. Remove it by hand.') from error
    return True


@contextlib.contextmanager
def _reading(directory: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f'{directory} cannot be read: {error}') from error


def _entries(directory: pathlib.Path) -> list[pathlib.Path]:
    """What `directory` holds; unlike with `glob`, a folder that may not be listed is an error."""
    try:
        return list(directory.iterdir())
    except OSError as error:
        if error.errno in _ABSENT:
            return []
        raise


def _mode(path: pathlib.Path) -> int:
    """The type and permissions of what `path` leads to; 0 where there is nothing."""
    try:
        return path.stat().st_mode
    except OSError as error:
        if error.errno in _ABSENT:
            return 0
        raise


def identity(directory: pathlib.Path) -> tuple | None:
    """What a SavedModel is told from another one by, in the same folder or a new one; None while there is none.

    Its folder's inode would not do: a file system may give the number of one that was removed to the next. And each
    export writes `saved_model.pb` at its end, so that a version whose files go one by one is not taken for a new one.
    """
    try:
        stat = (directory / SAVED_MODEL).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def files(directory: pathlib.Path) -> int | None:
    """A number for all its files as they are, their permissions included; None while they change.

    A list of them would do, but for many files it sets off a full garbage collection, for which all threads wait.
    """
    number = 0
    try:
        for folder, folders, names in os.walk(directory):
            for name in folders + names:
                path = pathlib.Path(folder, name)
                stat = path.stat()
                number ^= hash((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    except OSError:
        return None
    return number
