"""Version directories, `<model_dir>/<integer>`, as TensorFlow Serving expects them.

A server may list them at any time, so one rename adds or removes a version: no incomplete version is ever visible.
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
    """Returns the versions under `model_dir` and their directories, in order; `00000123` is version 123.

    A missing `model_dir` has no versions. A number above `LARGEST` is not a version.

    Raises:
      InputError: `model_dir` or one of its entries cannot be read.
    """
    with _reading(model_dir):
        named = [path for path in sorted(_entries(model_dir)) if re.fullmatch('[0-9]+', path.name)]
        found = [path for path in named if int(path.name) <= LARGEST and stat.S_ISDIR(_mode(path))]
    return dict(sorted((int(path.name), path) for path in found))


def newest_version(model_dir: pathlib.Path) -> pathlib.Path:
    """Returns the directory of the highest version, or `model_dir` if it is itself a version.

    Raises:
      InputError: there is no version, or `model_dir` cannot be read.
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
    """Returns whether `directory` itself holds a SavedModel. Raises `InputError` if it cannot be read."""
    with _reading(directory):
        return bool(_mode(directory / SAVED_MODEL))


def add(aside: pathlib.Path, model_dir: pathlib.Path) -> pathlib.Path:
    """Renames the complete directory `aside` to the number after the highest version under `model_dir`, or to 1.

    If two exports choose the same number at the same time, the slower one takes the next number.

    Raises:
      InputError: `model_dir` cannot be read, or already has the largest possible version.
      OSError: `aside` cannot be renamed.
    """
    for number in range(max(versions(model_dir), default=0) + 1, LARGEST + 1):
        try:
            return aside.rename(model_dir / str(number))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
    raise InputError(f'model_dir {str(model_dir)!r} has version {LARGEST}, the largest possible: remove it.')


def remove_old(model_dir: pathlib.Path, keep: int) -> list[pathlib.Path]:
    """Removes all but the `keep` highest versions (0: none), the lowest first, and returns the removed directories.

    If two exports do so at the same time, each version is removed and returned by one of them.

    Raises:
      InputError: a version cannot be removed.
    """
    return [path for path in (list(versions(model_dir).values())[:-keep] if keep else []) if _remove(path)]


def _remove(path: pathlib.Path) -> bool:
    """Returns whether `path` still existed. Raises `InputError` if it cannot be removed."""
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
    """Returns the entries of `directory`. Unlike `glob`, fails if the directory may not be listed."""
    try:
        return list(directory.iterdir())
    except OSError as error:
        if error.errno in _ABSENT:
            return []
        raise


def _mode(path: pathlib.Path) -> int:
    """Returns type and permissions of the target of `path`; 0 if it does not exist."""
    try:
        return path.stat().st_mode
    except OSError as error:
        if error.errno in _ABSENT:
            return 0
        raise


def saved_model_identity(directory: pathlib.Path) -> tuple | None:
    """Identifies the SavedModel in a version directory, from stat() alone; None if there is no SavedModel.

    Only `saved_model.pb` counts: each export writes it last, and it does not change while other files are deleted. The
    directory's inode is not enough: a file system may reuse the number of a removed directory.
    """
    try:
        stat = (directory / SAVED_MODEL).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def directory_fingerprint(directory: pathlib.Path) -> int | None:
    """Returns a hash of the paths, sizes, times and permissions of all files; None if one disappears meanwhile.

    A list of them would be simpler, but a long list triggers a full garbage collection, which blocks all threads.
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
