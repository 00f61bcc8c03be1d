"""Command lines that users can paste into a shell."""

import csv
import io
import re
import shlex


def command(module: str, **values: object) -> str:
    """Returns the command line that runs a program with these flags."""
    return ' '.join(['python -m', module, *(f'--{name}={_quoted(str(value))}' for name, value in values.items())])


def list_item(value: str) -> str:
    """Returns `value`, for which `can_be_list_item` holds, quoted as an item of a comma-separated flag."""
    written = io.StringIO()
    csv.writer(written, lineterminator='').writerow([value])
    return written.getvalue()


def can_be_list_item(value: str) -> bool:
    """Returns whether a comma-separated flag can contain `value`: it strips spaces and does not accept line breaks."""
    return value == value.strip() != '' and value.isprintable()


def _quoted(value: str) -> str:
    """Quotes like `shlex.quote`, but leaves letters of all scripts, such as 分开, unquoted."""
    return value if re.fullmatch(r'[\w@%+=:,./-]+', value) else shlex.quote(value)
