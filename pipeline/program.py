"""The frame of every program: flags, error messages, exit codes."""

import io
import json
import os
import pathlib
import sys
from collections.abc import Callable

from absl import app, flags, logging

from data.errors import InputError
from pipeline.terminal import shown

_BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended
_HELP_FLAGS = {'h', 'help', 'helpshort', 'helpfull', '?'}


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits.

    Exit codes: 0 or what `main` returns; 1, with one line on stderr, on InputError; 130 on Ctrl-C;
    141, without a message, when stdout was closed, as by `head`.
    """

    def guarded(argv: list[str]) -> int | None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow reports each save at INFO
        try:
            _check_text(sys.argv)
            if len(argv) > 1:
                raise InputError(f'unexpected argument {argv[1]!r}: flags are written --name=value, a glob in quotes.')
            code = main()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # else Python prints an error when it flushes at exit
            return _BROKEN_PIPE
        except InputError as error:
            print(f'error: {shown(str(error), sys.stderr)}', file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            return 130

    if sys.stdout is None:  # closed, as by `>&-`
        sys.stdout = pathlib.Path(os.devnull).open('w')  # noqa: SIM115 - open until the program ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # escapes characters that its encoding lacks
    app.run(guarded, flags_parser=_parse_flags)


def json_line(fields: dict) -> str:
    """Returns `fields` as a line of JSON, with characters escaped unless stdout is UTF-8."""
    return json.dumps(fields, ensure_ascii=sys.stdout.encoding.lower() != 'utf-8')


def _check_text(arguments: list[str]) -> None:
    """Raises `InputError` for an argument whose bytes are not text in the encoding of this environment."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError(
                f'the argument {os.fsencode(argument)!r} is not {sys.getfilesystemencoding()}, the encoding of this '
                f'environment: use that encoding, or set PYTHONUTF8=1 if the terminal writes UTF-8.'
            ) from None


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses flags as absl does, but prints errors on one line, accepts `-h` and exits with 0 after --help."""
    try:
        return flags.FLAGS([{'-h': '--help'}.get(argument, argument) for argument in argv])
    except flags.Error as error:
        print(f'error: {str(error).removeprefix("ERROR:: ")} (--help shows all flags)', file=sys.stderr)
        sys.exit(1)
    except SystemExit:
        if any(argument.lstrip('-').split('=')[0] in _HELP_FLAGS for argument in argv[1:]):
            sys.exit(0)
        raise
