"""Turns prefixes into text with an exported model, loaded here or served, and nothing of the program that trained it.

Examples:

  python -m export.generate --prefix=分开
  python -m export.generate --prefix=分开,不分开 --length=100 --temperature=0.8 --top_p=0.95 --seed=7
  python -m export.generate --prefix=分开 --temperature=1 --num_samples=5 --json       (one JSON object a line)
  python -m export.generate --prefix_file=prefixes.txt                                 (one a line; - is stdin)
  python -m export.generate --prefix=分开 --server=http://localhost:8501               (in a terminal, as it is made)

Texts come in the order of the prefixes, those of one prefix together; text n of them all, from 0, draws with seed + n.
"""

import dataclasses
import pathlib
import re
import sys
from collections.abc import Sequence

from absl import flags

from data.errors import InputError
from export.artifact.text_request import TextRequest, batches, numbered
from export.client.remote import RemoteModel
from pipeline import program

_FLAGS = flags.FLAGS


def prefixes_in(path: str) -> list[str]:
    """The lines of a file (`-`: of stdin) as they are, without their line ends.

    Raises:
      InputError: it cannot be read, is no UTF-8, or a line is empty.
    """
    try:
        read = sys.stdin.buffer.read() if path == '-' else pathlib.Path(path).read_bytes()
        text = read.decode('utf-8-sig')
    except OSError as error:
        raise InputError(f'prefix_file={path!r} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        line = error.object.count(b'\n', 0, error.start) + 1
        raise InputError(f'prefix_file={path!r} must be UTF-8, and line {line} is not.') from error
    lines = [line.removesuffix('\r') for line in text.removesuffix('\n').split('\n')]
    if '' in lines:
        raise InputError(
            f'prefix_file={path!r} must have a prefix on each line, and line {lines.index("") + 1} is empty.'
        )
    return lines


def _prefixes() -> list[str]:
    if (_FLAGS.prefix is None) == (_FLAGS.prefix_file is None):
        found = 'none is' if _FLAGS.prefix is None else 'both are'
        raise InputError(f'give either --prefix=分开 or --prefix_file=prefixes.txt: {found} given.')
    return prefixes_in(_FLAGS.prefix_file) if _FLAGS.prefix is None else _FLAGS.prefix or ['']


def _requests() -> list[TextRequest]:
    if _FLAGS.num_samples > 1 and _FLAGS.temperature == 0:
        raise InputError(
            f'num_samples={_FLAGS.num_samples} with temperature 0 would be the same text each time: set --temperature '
            f"above 0 (1: by the model's probabilities)."
        )
    return numbered(
        _prefixes(),
        _FLAGS.num_samples,
        _FLAGS.seed,
        length=_FLAGS.length,
        temperature=_FLAGS.temperature,
        top_k=_FLAGS.top_k,
        top_p=_FLAGS.top_p,
    )


def _model():
    """What makes the texts: it has `generate(requests)`."""
    if _FLAGS.server is None:
        from export.client.local import (
            LocalModel,  # imports TensorFlow, which takes seconds that a server has spent already
        )
        from pipeline import devices

        devices.one_thread_an_operation()
        return LocalModel(pathlib.Path(_FLAGS.model_dir))
    if _FLAGS['model_dir'].present:
        raise InputError('give --model_dir or --server, not both: a server has a model of its own.')
    return RemoteModel(_FLAGS.server)


def _print_stream(server: RemoteModel, request: TextRequest) -> bool:
    """Prints one text as it is made; False if the server cannot stream."""
    added = server.stream(request)
    if added is None:
        return False
    print(request.prefix, end='', flush=True)
    try:
        for characters in added:
            print(characters, end='', flush=True)
    finally:
        print(flush=True)  # what a failure or Ctrl-C says stands on a line of its own
    return True


def _print_all(model, requests: Sequence[TextRequest]) -> None:
    printed = 0
    for batch in batches(requests):
        try:
            texts = model.generate(batch)
        except InputError as error:
            raise InputError(_by_prefix(str(error), printed)) from error
        for request, generated in zip(batch, texts, strict=True):
            fields = dataclasses.asdict(request) | generated._asdict()
            print(program.json_line(fields) if _FLAGS.json else generated.text)
        sys.stdout.flush()
        printed += len(batch)


def _by_prefix(message: str, first_row: int) -> str:
    """The model's message, which names a row of a batch, with that prefix's place among all prefixes, from 0."""

    def place(row: re.Match) -> str:
        return f'{row[1]}[{(first_row + int(row[2])) // _FLAGS.num_samples}]'

    return re.sub(r'\b(prefix|length|temperature|top_k|top_p|seed)\[(\d+)\]', place, message, count=1)


def main() -> None:
    requests = _requests()
    model = _model()
    streams = _FLAGS.server and len(requests) == 1 and not _FLAGS.json and sys.stdout.isatty()
    if not (streams and _print_stream(model, requests[0])):
        _print_all(model, requests)


if __name__ == '__main__':
    flags.DEFINE_string('model_dir', 'models/charrnn', 'A folder of versions (the newest is taken), or one version.')
    flags.DEFINE_string(
        'server',
        None,
        'Ask a server instead, ours or TensorFlow Serving: http://host:port[/v1/models/NAME[/versions/N]]. Without a '
        'NAME it is charrnn.',
    )
    flags.DEFINE_list(
        'prefix', None, 'What the texts begin with, separated by commas; one with a comma in it in double quotes.'
    )
    flags.DEFINE_string('prefix_file', None, 'A UTF-8 file with a prefix on each line, taken as it is; - is stdin.')
    flags.DEFINE_integer('num_samples', 1, 'Texts for each prefix.', lower_bound=1, upper_bound=1_000_000)
    flags.DEFINE_integer('length', 50, 'Characters to add.', upper_bound=2**31 - 1)
    flags.DEFINE_float('temperature', 0.0, "0: always the most likely character. 1: by the model's probabilities.")
    flags.DEFINE_integer('top_k', 0, 'Draw only among the k most likely characters; 0: off.', upper_bound=2**31 - 1)
    flags.DEFINE_float('top_p', 1.0, 'Draw only among the likely characters that together reach p; 1: off.')
    flags.DEFINE_integer(
        'seed', 0, 'Fixes what is drawn: text n draws with seed + n.', lower_bound=0, upper_bound=2**62
    )
    flags.DEFINE_bool('json', False, 'Print a JSON object a line: prefix, knobs, seed, text, log_likelihood (nats).')
    program.run(main)
