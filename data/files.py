"""Paths that users name, and files that appear complete or not at all."""

import pathlib

from data.errors import InputError

_PATTERN = '*?[]\\'


def user_path(name: str, value: str) -> pathlib.Path:
    """Returns the path in the flag `name`, with `~` expanded. Raises `InputError` if that home directory is unknown."""
    try:
        return pathlib.Path(value).expanduser()
    except RuntimeError as error:
        raise InputError(f'{name}={value!r} cannot be expanded: {error} Write the whole path.') from error


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


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes `text` in UTF-8 to `path`.part and renames that to `path`. Raises OSError if it cannot be written."""
    aside = path.with_name(f'{path.name}.part')
    aside.write_text(text, 'utf-8')
    aside.replace(path)
