"""The frame of every program: flags, error messages, exit codes."""

import collections
import io
import json
import os
import re
import sys
from collections.abc import Callable

from absl import app, flags, logging

from data.errors import InputError
from data.output import Output, OutputError
from data.terminal import shown

_BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended
_BYTE_ORDER_MARK = '\ufeff'
_RULES = {
    'invalid literal for int.*': 'it must be an integer',
    'could not convert string to float.*': 'it must be a number',
    r'\(.Non-boolean argument to boolean flag.*': 'it must be true or false',
}
_HELP_FLAGS = {'h', 'help', 'helpshort', 'helpfull', '?'}


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits.

    Exit codes: 0 or what `main` returns; 1, with one line on stderr, on InputError, or if stdout cannot be written;
    130 on Ctrl-C; 141, without a message, when stdout was closed, as by `head` or with its terminal.
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
        except OutputError as error:
            return _without_stdout(error)
        except InputError as error:
            print(f'error: {shown(str(error), sys.stderr)}', file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            return 130

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # escapes characters that its encoding lacks
    sys.stdout = Output(sys.stdout)  # type: ignore[assignment]  # it has what TextIO has
    try:
        app.run(guarded, flags_parser=_parse_flags)
    except OutputError as error:  # of --help
        sys.exit(_without_stdout(error))


def _without_stdout(error: OutputError) -> int:
    """Returns the exit code; a message says why stdout cannot be written, unless it was closed."""
    # Else Python prints an error when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.is_closed:
        return _BROKEN_PIPE
    print(f'error: {error}', file=sys.stderr)
    return 1


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
    """Parses flags as absl does, with these differences.

    Errors are one line, `-h` is --help, which exits with 0, and a byte order mark before the first line of a flag file
    is skipped. A flag that is given twice on the command line is reported on stderr; the last value is used.
    """
    program, *arguments = ({'-h': '--help'}.get(argument, argument) for argument in argv)
    try:
        left = flags.FLAGS([program, *_expanded(arguments)])
    except flags.Error as error:
        sys.exit(_usage_error(f'{_in_plain_words(str(error).removeprefix("ERROR:: "))}{_suggestion(error)}'))
    except ValueError as error:  # --nojit=true, or a flag file that is not text
        sys.exit(_usage_error(str(error)))
    except SystemExit:
        if any(argument.lstrip('-').split('=')[0] in _HELP_FLAGS for argument in arguments):
            sys.stdout.flush()
            sys.exit(0)
        raise
    for name in _given_twice(arguments):
        print(f'--{name} is given more than once: {flags.FLAGS[name].value!r} is used', file=sys.stderr)
    return left


def _usage_error(message: str) -> int:
    print(f'error: {message} (--help shows all flags)', file=sys.stderr)
    return 1


def _in_plain_words(message: str) -> str:
    """Returns the message of absl on a value of the wrong type without the words of Python."""
    for pattern, rule in _RULES.items():
        message = re.sub(pattern, rule, message)
    return message


def _expanded(arguments: list[str]) -> list[str]:
    """Returns the arguments with those of flag files in their places."""
    expanded = flags.FLAGS.read_flags_from_files(arguments, force_gnu=False)
    without_marks = [argument.removeprefix(_BYTE_ORDER_MARK) for argument in expanded]
    # Without its mark, a first line can be a comment or empty, which absl would have skipped.
    comments = re.compile('$|#|//')
    return [new for old, new in zip(expanded, without_marks, strict=True) if new == old or not comments.match(new)]


def _suggestion(error: flags.Error) -> str:
    """Returns the flags that share a word with an unknown one, such as --num_epochs for --epochs."""
    if not isinstance(error, flags.UnrecognizedFlagError) or 'Did you mean' in str(error):
        return ''
    words = set(error.flagname.lower().replace('-', '_').split('_'))
    own = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    similar = [f'--{flag.name}' for flag in own if words & set(flag.name.split('_'))]
    return f'. Did you mean {" or ".join(similar)}?' if similar else ''


def _given_twice(arguments: list[str]) -> list[str]:
    """Returns the names of flags with one value that occur more than once."""
    names = [argument.lstrip('-').split('=')[0] for argument in arguments if re.match('--?[^-=]', argument)]
    return [
        name
        for name, count in collections.Counter(names).items()
        if count > 1
        and name in flags.FLAGS
        and not isinstance(flags.FLAGS[name], flags.MultiFlag)
        and name != 'flagfile'
    ]
