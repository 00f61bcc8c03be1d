"""Seconds per epoch of this project and of its peers: the same model, first weights and minibatches, in turn.

Contestants: this project; Keras with `fit`; PyTorch, eager and compiled; JAX with one `jit` an epoch. Each is a program
in benchmarks/peers and runs in a new process. The perplexity of the last epoch shows that the work is the same.

PyTorch's and Keras's layers multiply their input by a matrix, so these two have an embedding of H before, where this
project and JAX gather rows of W_xh. `charrnn, embedding` is this project with that embedding: the same equations.
PyTorch's GRU is the variant that resets after the product.

The share of the roofline is the time that the matrix products of an epoch take at the best rate measured in the same
rounds, divided by the time of this project's epoch. Writes the report to <output>.md, all figures to <output>.json, and
a picture to <output>.png.

  python -m benchmarks.training --corpus=lyrics --rounds=3 --cases=rnn-256,lstm-512-x2
"""

import json
import pathlib
import tempfile

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
from experiments import commands

_FLAGS = flags.FLAGS
_OPERATIONS = 6e11  # of the epochs of a contestant, but from 5 to 30 epochs
_EMBEDDED = '_embedding'  # of the file with the work of those that have an embedding


def contestants(peers: str) -> tuple[list[Contestant], list[str]]:
    """Returns the contestants, and the names of those whose library is missing.

    `peers` is the Python that has PyTorch and JAX.
    """
    found = [Contestant(OWN, 'benchmarks.peers.charrnn'), Contestant(f'{OWN}, embedding', 'benchmarks.peers.charrnn')]
    missing = []
    for module, one in (
        ('keras', Contestant('Keras', 'benchmarks.peers.keras', ('--unroll',))),
        ('torch', Contestant('PyTorch', 'benchmarks.peers.pytorch', python=peers)),
        ('torch', Contestant('PyTorch, compiled', 'benchmarks.peers.pytorch', ('--compile',), peers)),
        ('jax', Contestant('JAX', 'benchmarks.peers.jax', python=peers)),
    ):
        if turns.has_module(one.python, module):
            found.append(one)
        else:
            missing.append(one.name)
    return found, missing


def _product_rates(peers: str) -> dict[str, float]:
    """Returns the rate of matrix products of each library that is installed, operations a second."""
    found = {}
    for library in LIBRARIES:
        one = Contestant(library, 'benchmarks.peers.products', python=peers)
        if library == 'tensorflow':
            one = Contestant(library, 'benchmarks.peers.products')
        if turns.has_module(one.python, library):
            found[library] = one.measured([library])['rate']
    return found


def _measured(case: Case, entrants: list[Contestant], text: str, count: int) -> list[turns.Round]:
    """Returns `count` rounds of a case."""
    vocabulary = Vocabulary.from_text(text)
    ids, size = vocabulary.encode(text), len(vocabulary)
    operations = case.operations(size) * case.num_updates(len(ids))
    num_epochs = round(min(30, max(5, _OPERATIONS / operations)))
    with tempfile.TemporaryDirectory() as directory:
        paths = {}
        for suffix, one in (('', case), (_EMBEDDED, case.with_embedding())):
            paths[suffix] = pathlib.Path(directory) / f'work{suffix}.npz'
            work.write(paths[suffix], one, ids, size, num_epochs)
        arguments = {one.name: [str(paths['' if one.name in (OWN, 'JAX') else _EMBEDDED])] for one in entrants}
        return [turns.one_round(entrants, arguments) for _ in range(count)]


def main() -> None:
    unknown = set(_FLAGS.cases) - CASES.keys()
    if unknown:
        raise InputError(f'--cases={",".join(sorted(unknown))}: use {", ".join(CASES)}.')
    text = str(corpus.load(ReadingConfig(_FLAGS.corpus, max_characters=_FLAGS.max_characters)).text)
    entrants, missing = contestants(_FLAGS.peers_python)
    report = Report(commands.cpu(), len(set(text)), len(text), missing)
    output = pathlib.Path(_FLAGS.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in _FLAGS.cases or CASES:
        before = _product_rates(_FLAGS.peers_python)
        report.add(name, _measured(CASES[name], entrants, text, _FLAGS.rounds), before)
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
