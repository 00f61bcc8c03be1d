"""Characters per second generated on the CPU: rnn, gru and lstm, 1, 32 and 256 texts, greedy and top-p, in turn.

  artifact            signature `generate` of the SavedModel, one thread per operation as in export.generate
  artifact, threads   the same with TensorFlow's default threads
  PyTorch             a loop over nn.Embedding, a recurrent layer and nn.Linear, with the faster of 1 and all threads

The model has the section's size and is not trained. Each contestant runs in a new process. The report compares
the rates of the same round: a ratio above 1 means that the artifact is faster. The artifact counts with the faster of
its two numbers of threads.

  python -m benchmarks.generation --length=100 --rounds=3
"""

import json
import pathlib
import tempfile
from collections.abc import Callable, Iterator

from absl import flags

from benchmarks import server_process, turns
from benchmarks.peers.calls import median_seconds
from benchmarks.turns import Contestant
from data import program
from experiments import commands
from pipeline import devices

_FLAGS = flags.FLAGS
CELLS = ('rnn', 'gru', 'lstm')
BATCH_SIZES = (1, 32, 256)
_CONTESTANTS = ('artifact', 'artifact, threads', 'PyTorch')
_PREFIX_LENGTH = 2  # characters, as in the section
_HOW = {'greedy': {'temperature': 0.0, 'top_p': 1.0}, 'top-p': {'temperature': 1.0, 'top_p': 0.9}}

Generate = Callable[[list[str], int, str], list[str]]


def loaded(model_dir: pathlib.Path) -> Generate:
    """Loads the exported model; the result generates from prefixes, with a length and one of `_HOW`."""
    import tensorflow as tf

    from export.artifact.versions import newest_version
    from pipeline.generate import SIGNATURE

    devices.prepare()
    signature = tf.saved_model.load(str(newest_version(model_dir))).signatures['generate']

    def generate(prefixes: list[str], length: int, how: str) -> list[str]:
        knobs = {'length': length, 'top_k': 0, 'stop': '', 'seed': 0, **_HOW[how]}
        columns = {spec.name: [knobs.get(spec.name)] * len(prefixes) for spec in SIGNATURE} | {'prefix': prefixes}
        answer = signature(**{spec.name: tf.constant(columns[spec.name], spec.dtype) for spec in SIGNATURE})
        return [text.decode() for text in answer['text'].numpy()]

    return generate


def _rate(generate: Generate, prefixes: list[str], length: int, how: str) -> float:
    """Returns characters per second: the added characters of all rows, over the median seconds of the calls."""

    def call() -> None:
        texts = generate(prefixes, length, how)
        if [len(text) for text in texts] != [_PREFIX_LENGTH + length] * len(prefixes):
            raise RuntimeError('a text does not have the requested length')

    return len(prefixes) * length / median_seconds(call)


def _rates(model_dir: pathlib.Path, length: int) -> dict[str, float]:
    characters = server_process.vocabulary().characters
    starts = [n % (len(characters) - _PREFIX_LENGTH) for n in range(max(BATCH_SIZES))]
    prefixes = [characters[n : n + _PREFIX_LENGTH] for n in starts]
    generate = loaded(model_dir)
    return {f'{size}, {how}': _rate(generate, prefixes[:size], length, how) for size in BATCH_SIZES for how in _HOW}


def _peer() -> Contestant | None:
    """Returns PyTorch; None, which it prints: it is missing."""
    peer = Contestant('PyTorch', 'benchmarks.peers.pytorch_generation', python=_FLAGS.peers_python)
    if turns.has_module(peer.python, 'torch'):
        return peer
    print('PyTorch is missing: make bench-generation installs it.')
    return None


def _rounds(cell: str, peer: Contestant | None) -> list[turns.Round]:
    """Returns the rounds of a cell."""
    size = len(server_process.vocabulary())
    numbers = [str(number) for number in (size, _FLAGS.length, *BATCH_SIZES)]
    with tempfile.TemporaryDirectory() as model_dir:
        server_process.write_model(pathlib.Path(model_dir), cell)
        own = [f'--model_dir={model_dir}', f'--length={_FLAGS.length}']
        entrants = {
            Contestant('artifact', 'benchmarks.generation', ('--only=artifact',)): own,
            Contestant('artifact, threads', 'benchmarks.generation', ('--only=threads',)): own,
        }
        if peer:
            entrants[peer] = [cell, *numbers]
        return [turns.one_round(entrants) for _ in range(_FLAGS.rounds)]


def rows(cell: str, found: list[turns.Round]) -> Iterator[str]:
    """Yields a row of the table for each batch size and way to choose; `-` in the columns of a peer that is missing."""
    for figure in found[0]['artifact']:
        rates = [f'{turns.median(found, name, figure):,.0f}' if name in found[0] else '-' for name in _CONTESTANTS]
        own = [max(one['artifact'][figure], one['artifact, threads'][figure]) for one in found]
        ratio = turns.spread(
            [rate / one['PyTorch'][figure] for rate, one in zip(own, found, strict=True) if 'PyTorch' in one]
        )
        yield f'| {cell}, {figure} | {" | ".join(rates)} | {ratio} |'


def main() -> None:
    if _FLAGS.only:
        if _FLAGS.only == 'artifact':
            devices.set_threads_per_operation()
        print(json.dumps(_rates(pathlib.Path(_FLAGS.model_dir), _FLAGS.length)))
        return
    print(f'CPU: {commands.cpu()}. Characters a second, medians of {_FLAGS.rounds} rounds.')
    peer = _peer()
    print(f'\n| | {" | ".join(_CONTESTANTS)} | the faster artifact / PyTorch |')
    print('| --- | --- | --- | --- | --- |', flush=True)
    for cell in _FLAGS.cells:
        print('\n'.join(rows(cell, _rounds(cell, peer))), flush=True)


if __name__ == '__main__':
    flags.DEFINE_integer('length', 100, 'Characters to add to each row.', lower_bound=1)
    flags.DEFINE_integer('rounds', 3, 'Runs of each contestant.', lower_bound=1)
    flags.DEFINE_multi_enum('cells', list(CELLS), CELLS, 'Cells to measure; repeat the flag for several.')
    flags.DEFINE_string('model_dir', None, 'Model for --only; without --only, a temporary one is exported.')
    flags.DEFINE_string('peers_python', '.venv-peers/bin/python', 'Python that has PyTorch (make bench-generation).')
    flags.DEFINE_enum('only', None, ['artifact', 'threads'], 'Run only this, in this process, and print JSON.')
    program.run(main)
