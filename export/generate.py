r"""Continues prefixes with an exported model, loaded from a directory or behind a server.

Examples:

  python -m export.generate --prefix=分开
  python -m export.generate --prefix=分开 --prefix=不分开 --length=100 --temperature=0.8 --top_p=0.95 --seed=7
  python -m export.generate --prefix=分开 --sample                                     (with the settings of the export)
  python -m export.generate --prefix=分开 --temperature=1 --num_samples=5 --json       (one JSON object per line)
  python -m export.generate --prefix=$'ROMEO:\n' --length=300 --stop=$'\n\n'           (bash: \n is a line break)
  python -m export.generate --prefix_file=prefixes.txt                                 (one per line; -: stdin)
  python -m export.generate --prefix=分开 --server=http://localhost:8501               (a terminal shows it in progress)

Texts are printed in the order of the prefixes, all texts of a prefix together. Text n, counted from 0 over all
prefixes, is drawn with seed + n.
"""

import pathlib
from typing import Any

from absl import flags

from data import program
from data.encodings import without_byte_order_marks
from data.errors import InputError
from data.files import tensorflow_path
from export.artifact.text_request import sample_requests
from export.client.prefixes import read_prefixes
from export.client.printing import TextModel, print_texts
from export.client.remote import RemoteModel

_FLAGS = flags.FLAGS
_KNOBS = ('length', 'temperature', 'top_k', 'top_p', 'stop')


def main() -> None:
    if (_FLAGS.prefix is None) == (_FLAGS.prefix_file is None):
        both = '' if _FLAGS.prefix is None else ', not both'
        raise InputError(f'give a text to continue, as --prefix=分开, or texts, as --prefix_file=prefixes.txt{both}.')
    if _FLAGS.prefix is None:
        prefixes = read_prefixes(_FLAGS.prefix_file)
    else:
        prefixes = [without_byte_order_marks(prefix) for prefix in _FLAGS.prefix]
    requests = sample_requests(prefixes, _FLAGS.num_samples, _FLAGS.seed, **_knobs())
    if _FLAGS.server is None:
        model = _load(tensorflow_path('model_dir', _FLAGS.model_dir))
    elif _FLAGS['model_dir'].present:
        raise InputError('give --model_dir or --server, not both: a server chooses its own model directory.')
    else:
        model = RemoteModel(_FLAGS.server)
    print_texts(model, requests, _FLAGS.num_samples, as_json=_FLAGS.json)


def _knobs() -> dict[str, Any]:
    """Returns the knobs of the requests; none: the model has them. Raises `InputError` for both."""
    if not _FLAGS.sample:
        return {name: _FLAGS[name].value for name in _KNOBS}
    if given := [name for name in _KNOBS if _FLAGS[name].present]:
        raise InputError(
            f'--{given[0]} does not go with --sample, whose settings were fixed at export: leave one of them out.'
        )
    return {}


def _load(model_dir: pathlib.Path) -> TextModel:
    from export.client.local import LocalModel  # imports TensorFlow, which takes seconds
    from pipeline import devices

    devices.use_cpu()
    devices.set_threads_per_operation()
    return LocalModel(model_dir)


if __name__ == '__main__':
    flags.DEFINE_string(
        'model_dir', 'models/charrnn', 'Directory of versions, of which the newest is used, or one version directory.'
    )
    flags.DEFINE_string(
        'server',
        None,
        'Server to use instead of --model_dir, the bundled one or TensorFlow Serving: '
        'http://host:port[/path][/v1/models/NAME[/versions/N]]. NAME defaults to charrnn.',
    )
    flags.DEFINE_multi_string('prefix', None, 'Prefix, used unchanged.')
    flags.DEFINE_string('prefix_file', None, 'UTF-8 file with one prefix per line, used unchanged. -: stdin.')
    flags.DEFINE_bool(
        'sample', False, 'Use the settings that were fixed at export (--sample_length, ... of export.saved_model).'
    )
    flags.DEFINE_integer('num_samples', 1, 'Texts per prefix.', lower_bound=1, upper_bound=1_000_000)
    flags.DEFINE_integer('length', 50, 'Most characters to add.', lower_bound=0, upper_bound=2**31 - 1)
    flags.DEFINE_float('temperature', 0.0, "0: the most likely character each time. 1: the model's probabilities.")
    flags.DEFINE_integer(
        'top_k', 0, 'Draw only from the k most likely characters. 0: off.', lower_bound=0, upper_bound=2**31 - 1
    )
    flags.DEFINE_float('top_p', 1.0, 'Draw only from the most likely characters whose probabilities sum to p. 1: off.')
    flags.DEFINE_string('stop', '', 'End the text after this string occurs in what is added. Empty: after --length.')
    flags.DEFINE_integer('seed', 0, 'Random seed. Text n is drawn with seed + n.', lower_bound=0, upper_bound=2**62)
    flags.DEFINE_bool(
        'json', False, 'Print one JSON object per line: the fields of the request, text and log_likelihood (nats).'
    )
    program.run(main)
