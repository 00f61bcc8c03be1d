"""Command lines that users can paste into a shell."""

import re
import shlex


def command(module: str, **values: object) -> str:
    """Returns the command line that runs a program with these flags."""
    return ' '.join(['python -m', module, *(f'--{name}={_quoted(str(value))}' for name, value in values.items())])


def _quoted(value: str) -> str:
    """Quotes like `shlex.quote`, but leaves letters of all scripts, such as 分开, unquoted."""
    return value if re.fullmatch(r'[\w@%+=:,./-]+', value) else shlex.quote(value)
