"""Version directories, `<model_dir>/<integer>`, as TensorFlow Serving keeps them."""

import pathlib

from data.errors import InputError


def versions(model_dir: pathlib.Path) -> list[int]:
    """The versions under `model_dir`, in order."""
    return sorted(int(path.name) for path in model_dir.glob('*') if path.name.isdecimal() and path.is_dir())


def next_version(model_dir: pathlib.Path) -> pathlib.Path:
    """The directory of a version one above the highest there is; 1 at first."""
    return model_dir / str(max(versions(model_dir), default=0) + 1)


def newest_version(model_dir: pathlib.Path) -> pathlib.Path:
    """The directory of the highest version, or `model_dir` where that is one. Raises `InputError` if there is none."""
    if (model_dir / 'saved_model.pb').exists():
        return model_dir
    found = versions(model_dir)
    if not found:
        raise InputError(
            f'model_dir {str(model_dir)!r} holds no exported model: make one with python -m export.saved_model.'
        )
    return model_dir / str(found[-1])
