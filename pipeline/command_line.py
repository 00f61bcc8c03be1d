"""Command lines to show to people, who paste them into a shell."""

import csv
import io
import re
import shlex


def command(module: str, **values: object) -> str:
    """The command line that runs a program with these flags, to be pasted into a shell."""
    return ' '.join(['python -m', module, *(f'--{name}={_quoted(str(value))}' for name, value in values.items())])


def list_item(value: str) -> str:
    """`value`, which `can_be_list_item`, as a flag takes it that is a list separated by commas."""
    written = io.StringIO()
    csv.writer(written, lineterminator='').writerow([value])
    return written.getvalue()


def can_be_list_item(value: str) -> bool:
    """Whether such a flag can have `value` in it: it strips spaces, and knows no line break."""
    return value == value.strip() != '' and value.isprintable()


def _quoted(value: str) -> str:
    """As `shlex.quote`, which would put 分开 between quotes too."""
    return value if re.fullmatch(r'[\w@%+=:,./-]+', value) else shlex.quote(value)
