"""Characters a second that are generated on the CPU, at batch 1 and 32: the artifact beside the trainer and PyTorch.

`artifact` is the signature `generate` of the SavedModel in a program that does as export.generate does (one thread an
operation), `artifact, threads` in one that leaves TensorFlow its threads, `trainer` the Generator that the trainer
samples with, `pytorch` a loop over nn.Embedding, nn.RNN and nn.Linear with PyTorch's threads, its faster way. All are
greedy, from prefixes to texts, with a model of the section's size. Each is a fresh process; they take turns for some
rounds, and medians are compared.

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
from pipeline import devices, program
from pipeline.config import ModelConfig

_FLAGS = flags.FLAGS
_BATCH_SIZES = (1, 32)
_CALLS = 5  # after a first one that is not counted
_PREFIX_LENGTH = 2  # characters, as in the section

Generate = Callable[[list[str], int], list[str]]


def artifact() -> Generate:
    """The exported model in `--model_dir`, as export.generate calls it."""
    devices.one_thread_an_operation()
    return artifact_with_threads()


def artifact_with_threads() -> Generate:
    """The same, as any program in Python calls it."""
    import tensorflow as tf

    from export.artifact.versions import newest_version
    from pipeline.generate import SIGNATURE

    devices.prepare()
    signature = tf.saved_model.load(str(newest_version(pathlib.Path(_FLAGS.model_dir)))).signatures['generate']
    greedy = {'temperature': 0.0, 'top_k': 0, 'top_p': 1.0, 'seed': 0}

    def generate(prefixes: list[str], length: int) -> list[str]:
        knobs = {**greedy, 'length': length}
        columns = {spec.name: [knobs.get(spec.name)] * len(prefixes) for spec in SIGNATURE} | {'prefix': prefixes}
        answer = signature(**{spec.name: tf.constant(columns[spec.name], spec.dtype) for spec in SIGNATURE})
        return [text.decode() for text in answer['text'].numpy()]

    return generate


def trainer() -> Generate:
    """The trainer's own generator."""
    from pipeline.generate import Generator

    devices.prepare()
    characters = server_process.vocabulary()
    return Generator(server_process.model(len(characters)), characters).texts


def pytorch() -> Generate:
    """The same model and work as a PyTorch user writes them."""
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
    """Characters a second: all rows' added ones, over the median of some calls."""
    seconds = []
    for _ in range(1 + _CALLS):
        start = time.perf_counter()
        texts = generate(prefixes, length)
        seconds.append(time.perf_counter() - start)
        if [len(text) for text in texts] != [_PREFIX_LENGTH + length] * len(prefixes):
            raise RuntimeError('the texts have not the length that was asked for')
    return len(prefixes) * length / statistics.median(seconds[1:])


def main() -> None:
    if _FLAGS.only:
        generate, characters = CONTESTANTS[_FLAGS.only](), server_process.vocabulary().characters
        prefixes = [characters[n : n + _PREFIX_LENGTH] for n in range(max(_BATCH_SIZES))]
        print(json.dumps({f'batch {size}': _rate(generate, prefixes[:size], _FLAGS.length) for size in _BATCH_SIZES}))
        return
    with tempfile.TemporaryDirectory() as model_dir:
        server_process.write_model(pathlib.Path(model_dir))
        given = [f'--model_dir={model_dir}', f'--length={_FLAGS.length}']
        found = turns.rounds('benchmarks.generation', CONTESTANTS, given, _FLAGS.rounds)
    for size in _BATCH_SIZES:
        figure = f'batch {size}'
        for name in CONTESTANTS:
            print(f'{figure}, {name}: {turns.median(found, name, figure):,.0f} characters a second')
        for other in ('artifact, threads', 'trainer', 'pytorch'):
            print(f'{figure}, artifact / {other}: {turns.ratio(found, "artifact", other, figure)}')


if __name__ == '__main__':
    flags.DEFINE_integer('length', 500, 'Characters that each row adds.', lower_bound=1)
    flags.DEFINE_integer('rounds', 5, 'How many times each contestant runs.', lower_bound=1)
    flags.DEFINE_string('model_dir', None, 'Of the contestant that runs in this process; else made and removed.')
    flags.DEFINE_enum('only', None, CONTESTANTS, 'Run one contestant in this process and print its figures as JSON.')
    program.run(main)
