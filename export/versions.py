"""Version directories, `<model_dir>/<integer>`, as TensorFlow Serving keeps them.

A server may look at any moment: a version comes and goes by one rename, and never stands there half.
"""

import errno
import pathlib
import re
import shutil
import tempfile

from data.errors import InputError

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def versions(model_dir: pathlib.Path) -> dict[int, pathlib.Path]:
    """The versions under `model_dir` and their directories, in order; `00000123` is version 123."""
    named = [path for path in sorted(model_dir.glob('*')) if re.fullmatch('[0-9]+', path.name) and path.is_dir()]
    return dict(sorted((int(path.name), path) for path in named))


def newest_version(model_dir: pathlib.Path) -> pathlib.Path:
    """The directory of the highest version, or `model_dir` where that is one. Raises `InputError` if there is none."""
    if (model_dir / 'saved_model.pb').exists():
        return model_dir
    found = versions(model_dir)
    if not found:
        raise InputError(
            f'model_dir {str(model_dir)!r} holds no exported model: make one with python -m export.saved_model.'
        )
    return found[max(found)]


def add(aside: pathlib.Path, model_dir: pathlib.Path) -> pathlib.Path:
    """Renames `aside`, which is whole, to a version above the highest under `model_dir`; 1 at first.

    Of two exports at the same moment the slower one gets the number after.
    """
    number = max(versions(model_dir), default=0) + 1
    while True:
        try:
            return aside.rename(model_dir / str(number))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            number += 1


def remove_old(model_dir: pathlib.Path, keep: int) -> list[pathlib.Path]:
    """Removes all but the `keep` highest versions (0: removes none), the lowest first; returns what it removed.

    Raises:
      InputError: one cannot be removed.
    """
    removed = list(versions(model_dir).values())[:-keep] if keep else []
    for path in removed:
        try:
            aside = pathlib.Path(tempfile.mkdtemp(prefix='removing-', dir=model_dir))
            path.rename(aside / path.name)
            shutil.rmtree(aside)
        except OSError as error:
            raise InputError(f'{path} cannot be removed: {error}. Remove it by hand.') from error
    return removed
