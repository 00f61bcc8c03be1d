"""Files that appear complete or not at all."""

import pathlib


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes `text` in UTF-8 to `path`.part and renames that to `path`. Raises OSError if it cannot be written."""
    aside = path.with_name(f'{path.name}.part')
    aside.write_text(text, 'utf-8')
    aside.replace(path)
