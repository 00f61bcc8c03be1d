"""One client of a server that asks for long texts, streamed and whole in turn: characters a second of each.

The text has to be the same both ways; exit code 1 if it is not.

  python -m benchmarks.streaming --length=1000 --rounds=5
"""

import pathlib
import statistics
import tempfile
import time

from absl import flags

from benchmarks import server_process
from benchmarks.server_process import ServerProcess
from export.artifact.text_request import TextRequest
from export.client.remote import RemoteModel
from pipeline import program

_FLAGS = flags.FLAGS


def _streamed(server: RemoteModel, request: TextRequest) -> str:
    return request.prefix + ''.join(server.stream(request))


def _whole(server: RemoteModel, request: TextRequest) -> str:
    return server.generate([request])[0].text


def _rates(server: RemoteModel) -> dict[str, list[float]]:
    """Characters a second of each round, by the way. Raises `RuntimeError` where the texts differ."""
    found: dict[str, list[float]] = {}
    for seed in range(_FLAGS.rounds + 1):
        request = TextRequest(server_process.vocabulary().characters[-1], _FLAGS.length, temperature=1.0, seed=seed)
        texts = set()
        for way, ask in {'streamed': _streamed, 'whole': _whole}.items():
            began = time.perf_counter()
            texts.add(ask(server, request))
            if seed:  # the first round warms up
                found.setdefault(way, []).append(_FLAGS.length / (time.perf_counter() - began))
        if len(texts) != 1:
            raise RuntimeError(f'seed {seed}: another text streamed than whole')
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model_dir = pathlib.Path(folder) / server_process.MODEL
        model_dir.mkdir()
        server_process.write_model(model_dir)
        with ServerProcess(model_dir) as process:
            for way, rates in _rates(RemoteModel(f'http://{process.rest}')).items():
                middle, lowest, highest = statistics.median(rates), min(rates), max(rates)
                print(
                    f'{way:9}{middle:9,.0f} characters a second ({lowest:,.0f} to {highest:,.0f}, {len(rates)} rounds)'
                )


if __name__ == '__main__':
    flags.DEFINE_integer('length', 1000, 'Characters of a text.', lower_bound=1, upper_bound=1000)
    flags.DEFINE_integer('rounds', 5, 'Texts, each asked for both ways.', lower_bound=1)
    program.run(main)
