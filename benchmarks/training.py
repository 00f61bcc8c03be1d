"""Seconds per epoch of this project and of its peers: the same model, first weights and minibatches, in turn.

Contestants: this project; Keras with `fit`; PyTorch, eager and compiled; JAX with one `jit` an epoch. Each is a program
in benchmarks/peers and runs in a new process. The perplexity of the last epoch shows that the work is the same.

PyTorch's and Keras's layers multiply their input by a matrix, so these two have an embedding of H before, where this
project and JAX gather rows of W_xh. `charrnn, embedding` is this project with that embedding: the same equations.
PyTorch's GRU is the variant that resets after the product.

The share of the roofline is the time that the matrix products of an epoch take at the best rate measured before the
rounds of the case, divided by the time of this project's epoch. Writes the report to <output>.md, all figures to
<output>.json, and a picture to <output>.png.

  python -m benchmarks.training --corpus=lyrics --rounds=3 --cases=rnn-256,lstm-512-x2
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
from absl import flags

from benchmarks import turns, work
from benchmarks.cases import CASES, Case
from benchmarks.peers.products import LIBRARIES
from benchmarks.training_report import OWN, Report
from benchmarks.turns import Contestant
from data import corpus, program
from data.errors import InputError
from data.files import write_whole
from data.reading import ReadingConfig
from data.vocabulary import Vocabulary
from data.windows import Windows
from experiments import commands

_FLAGS = flags.FLAGS


def contestants(peers: str) -> tuple[list[Contestant], list[str]]:
    """Returns the contestants, and the names of those whose library is missing.

    `peers` is the Python that has PyTorch and JAX.
    """
    found = [Contestant(OWN, 'benchmarks.peers.charrnn'), Contestant(f'{OWN}, embedding', 'benchmarks.peers.charrnn')]
    missing = []
    for module, one in (
        ('keras', Contestant('Keras', 'benchmarks.peers.keras')),
        ('torch', Contestant('PyTorch', 'benchmarks.peers.pytorch', python=peers)),
        ('torch', Contestant('PyTorch, compiled', 'benchmarks.peers.pytorch', ('--compile',), peers)),
        ('jax', Contestant('JAX', 'benchmarks.peers.jax', python=peers)),
    ):
        if turns.has_module(one.python, module):
            found.append(one)
        else:
            missing.append(one.name)
    return found, missing


def _products(peers: str) -> list[Contestant]:
    """Returns the programs that measure matrix products, named by their libraries, of those that are installed."""
    pythons = {library: sys.executable if library == 'tensorflow' else peers for library in LIBRARIES}
    return [
        Contestant(library, 'benchmarks.peers.products', (library,), python)
        for library, python in pythons.items()
        if turns.has_module(python, library)
    ]


def _rounds(case: Case, entrants: list[Contestant], ids: np.ndarray, size: int, num_epochs: int) -> list[turns.Round]:
    """Returns the rounds of a case, on a corpus with V = `size`."""
    with tempfile.TemporaryDirectory() as directory:
        gathered, embedded = (pathlib.Path(directory) / f'{name}.npz' for name in ('gathered', 'embedded'))
        work.write(gathered, case, ids, size, num_epochs)
        work.write(embedded, case.with_embedding(), ids, size, num_epochs)
        of_each = {one: [str(gathered if one.name in (OWN, 'JAX') else embedded)] for one in entrants}
        return [turns.one_round(of_each) for _ in range(_FLAGS.rounds)]


def main() -> None:
    unknown = set(_FLAGS.cases) - CASES.keys()
    if unknown:
        raise InputError(f'--cases={",".join(sorted(unknown))}: use {", ".join(CASES)}.')
    text = str(corpus.load(ReadingConfig(_FLAGS.corpus, max_characters=_FLAGS.max_characters)).text)
    vocabulary = Vocabulary.from_text(text)
    ids, size = vocabulary.encode(text), len(vocabulary)
    entrants, missing = contestants(_FLAGS.peers_python)
    products = _products(_FLAGS.peers_python)
    report = Report(commands.cpu(), size, len(text), missing)
    output = pathlib.Path(_FLAGS.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in _FLAGS.cases or CASES:
        case = CASES[name]
        operations = case.operations(size) * Windows(len(ids), case.batch_size, case.num_steps).steps_per_epoch
        rates = {one.name: max(one.measured([]).values()) for one in products}
        report.add(name, operations, _rounds(case, entrants, ids, size, work.num_epochs(operations)), rates)
        print(report.lines(name), flush=True)
        write_whole(output.with_suffix('.json'), json.dumps(report.figures, indent=1))
        write_whole(output.with_suffix('.md'), report.markdown())
    report.draw(output.with_suffix('.png'))


if __name__ == '__main__':
    flags.DEFINE_string('corpus', 'lyrics', 'Corpus, as for pipeline.train.')
    flags.DEFINE_integer('max_characters', 10_000, 'Characters to use from the start of the corpus. 0: all.')
    flags.DEFINE_list('cases', [], f'Cases to measure, separated by commas. Empty: all ({", ".join(CASES)}).')
    flags.DEFINE_integer('rounds', 3, 'Runs of each contestant and case.', lower_bound=1)
    flags.DEFINE_string('peers_python', '.venv-peers/bin/python', 'Python that has PyTorch and JAX (make bench).')
    flags.DEFINE_string('output', 'build/training', 'Path of the report, without .md, .json and .png.')
    program.run(main)
