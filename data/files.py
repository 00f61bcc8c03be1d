"""Paths that users name, and files that appear complete or not at all."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

from data.errors import InputError

_PATTERN = '*?[]\\'


def user_path(name: str, value: str) -> pathlib.Path:
    """Returns the path in the flag `name`, with `~` expanded.

    Raises:
      InputError: that home directory is unknown, or no file can be found or made there, as for a name that is too long.
    """
    try:
        path = pathlib.Path(value).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except RuntimeError as error:
        raise InputError(f'{name}={value!r} cannot be expanded: {error} Write the whole path.') from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f'{name}={value[:50]!r} is not a path that can be used: {reason}. Use another.') from error
    return path


def tensorflow_path(name: str, value: str) -> pathlib.Path:
    """Returns `user_path` for a directory that TensorFlow reads, as a pattern of file names.

    Raises:
      InputError: it contains a character of such patterns, so that TensorFlow would read other files or none.
    """
    path = user_path(name, value)
    found = next((character for character in str(path) if character in _PATTERN), None)
    if found:
        raise InputError(
            f'{name}={value!r} contains {found!r}, but TensorFlow reads the characters {" ".join(_PATTERN)} in a path '
            f'as a pattern: rename it, or use a directory without them.'
        )
    return path


@contextlib.contextmanager
def aside(path: pathlib.Path, prefix: str = '.') -> Iterator[pathlib.Path]:
    """Yields a path of the same name in a new folder beside `path`; removes the folder at the end.

    A process that is killed leaves the folder, whose name begins with `prefix` and ends with `.part`.
    """
    with tempfile.TemporaryDirectory('.part', prefix, path.parent, ignore_cleanup_errors=True) as folder:
        yield pathlib.Path(folder) / path.name


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes `text` in UTF-8 to a new file and renames that to `path`. Raises OSError if it cannot be written."""
    with aside(path) as part:
        part.write_text(text, 'utf-8')
        part.replace(path)
