"""Characters per second generated on the CPU, with batch sizes 1 and 32, by four contestants:

  artifact            signature `generate` of the SavedModel, one thread per operation as in export.generate
  artifact, threads   the same with TensorFlow's default threads
  trainer             the trainer's Generator
  pytorch             a loop over nn.Embedding, nn.RNN and nn.Linear with PyTorch's default threads, its faster setting

All generate greedily, from prefixes to texts, with a model of the section's size. They take turns, each in a new
process. The report compares medians over the rounds.

  python -m benchmarks.generation --length=500 --rounds=5
"""

import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
from absl import flags

from benchmarks import server_process, turns
from data import program
from pipeline import devices
from pipeline.config import ModelConfig

_FLAGS = flags.FLAGS
_BATCH_SIZES = (1, 32)
_CALLS = 5  # after an untimed first one
_PREFIX_LENGTH = 2  # characters, as in the section

Generate = Callable[[list[str], int], list[str]]


def artifact(model_dir: pathlib.Path) -> Generate:
    """The exported model, as export.generate calls it."""
    devices.set_threads_per_operation()
    return artifact_with_threads(model_dir)


def artifact_with_threads(model_dir: pathlib.Path) -> Generate:
    """The exported model with TensorFlow's default threads."""
    import tensorflow as tf

    from export.artifact.versions import newest_version
    from pipeline.generate import SIGNATURE

    devices.prepare()
    signature = tf.saved_model.load(str(newest_version(model_dir))).signatures['generate']
    greedy = {'temperature': 0.0, 'top_k': 0, 'top_p': 1.0, 'stop': '', 'seed': 0}

    def generate(prefixes: list[str], length: int) -> list[str]:
        knobs = {**greedy, 'length': length}
        columns = {spec.name: [knobs.get(spec.name)] * len(prefixes) for spec in SIGNATURE} | {'prefix': prefixes}
        answer = signature(**{spec.name: tf.constant(columns[spec.name], spec.dtype) for spec in SIGNATURE})
        return [text.decode() for text in answer['text'].numpy()]

    return generate


def trainer(model_dir: pathlib.Path) -> Generate:
    """The trainer's Generator."""
    from pipeline.generate import Generator

    devices.prepare()
    characters = server_process.vocabulary()
    return Generator(server_process.model(len(characters)), characters).texts


def pytorch(model_dir: pathlib.Path) -> Generate:
    """The same model and work, written in plain PyTorch."""
    import torch

    characters, hidden_size = server_process.vocabulary(), ModelConfig.hidden_size
    embedding = torch.nn.Embedding(len(characters), hidden_size)
    rnn = torch.nn.RNN(hidden_size, hidden_size)
    output = torch.nn.Linear(hidden_size, len(characters))

    @torch.no_grad()
    def generate(prefixes: list[str], length: int) -> list[str]:
        prefix = torch.from_numpy(np.stack([characters.encode(text) for text in prefixes], 1)).long()
        hidden, state = rnn(embedding(prefix))
        added = []
        for _ in range(length):
            ids = output(hidden[-1]).argmax(-1)
            added.append(ids)
            hidden, state = rnn(embedding(ids[None]), state)
        rows = torch.stack(added, 1).numpy()
        return [text + characters.decode(row) for text, row in zip(prefixes, rows, strict=True)]

    return generate


CONTESTANTS = {
    'artifact': artifact,
    'artifact, threads': artifact_with_threads,
    'trainer': trainer,
    'pytorch': pytorch,
}


def _rate(generate: Generate, prefixes: list[str], length: int) -> float:
    """Returns characters per second: the added characters of all rows, over the median seconds of the calls."""
    seconds = []
    for _ in range(1 + _CALLS):
        start = time.perf_counter()
        texts = generate(prefixes, length)
        seconds.append(time.perf_counter() - start)
        if [len(text) for text in texts] != [_PREFIX_LENGTH + length] * len(prefixes):
            raise RuntimeError('a text does not have the requested length')
    return len(prefixes) * length / statistics.median(seconds[1:])


def main() -> None:
    if _FLAGS.only:
        generate, characters = (
            CONTESTANTS[_FLAGS.only](pathlib.Path(_FLAGS.model_dir or '')),
            server_process.vocabulary().characters,
        )
        prefixes = [characters[n : n + _PREFIX_LENGTH] for n in range(max(_BATCH_SIZES))]
        print(json.dumps({f'batch {size}': _rate(generate, prefixes[:size], _FLAGS.length) for size in _BATCH_SIZES}))
        return
    with tempfile.TemporaryDirectory() as model_dir:
        server_process.write_model(pathlib.Path(model_dir))
        arguments = [f'--model_dir={model_dir}', f'--length={_FLAGS.length}']
        found = turns.rounds('benchmarks.generation', CONTESTANTS, arguments, _FLAGS.rounds)
    for size in _BATCH_SIZES:
        figure = f'batch {size}'
        for name in CONTESTANTS:
            print(f'{figure}, {name}: {turns.median(found, name, figure):,.0f} characters a second')
        for other in ('artifact, threads', 'trainer', 'pytorch'):
            print(f'{figure}, artifact / {other}: {turns.ratio(found, "artifact", other, figure)}')


if __name__ == '__main__':
    flags.DEFINE_integer('length', 500, 'Characters to add to each row.', lower_bound=1)
    flags.DEFINE_integer('rounds', 5, 'Runs of each contestant.', lower_bound=1)
    flags.DEFINE_string('model_dir', None, 'Model for --only; without --only, a temporary one is exported.')
    flags.DEFINE_enum(
        'only', None, CONTESTANTS, 'Run only this contestant, in this process, and print its figures as JSON.'
    )
    program.run(main)
