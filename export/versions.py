"""Version directories, `<model_dir>/<integer>`, as TensorFlow Serving keeps them.

A server may look at any moment: a version comes and goes by one rename, and never stands there half.
"""

import contextlib
import errno
import pathlib
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator

from data.errors import InputError

LARGEST = 2**63 - 1  # requests name a version by an int64

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
        return bool(_mode(directory / 'saved_model.pb'))


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
