"""Characters per second for one client of a server, with texts streamed and predicted whole in turn.

Both ways must give the same text; otherwise the program fails.

  python -m benchmarks.streaming --length=1000 --rounds=5
"""

import pathlib
import statistics
import tempfile
import time

from absl import flags

from benchmarks import server_process
from benchmarks.server_process import ServerProcess
from data import program
from export.artifact.text_request import TextRequest
from export.client.remote import RemoteModel

_FLAGS = flags.FLAGS


def _streamed(server: RemoteModel, request: TextRequest) -> str:
    return request.prefix + ''.join(server.stream(request) or ())


def _predicted(server: RemoteModel, request: TextRequest) -> str:
    return server.generate([request])[0].text


def _rates(server: RemoteModel, length: int, rounds: int) -> dict[str, list[float]]:
    """Returns characters per second of each round for each way. Raises `RuntimeError` if the texts differ."""
    found: dict[str, list[float]] = {}
    for seed in range(rounds + 1):
        request = TextRequest(server_process.vocabulary().characters[-1], length, temperature=1.0, seed=seed)
        texts = set()
        for way, get_text in {'streamed': _streamed, 'whole': _predicted}.items():
            began = time.perf_counter()
            texts.add(get_text(server, request))
            if seed:  # the first round warms up
                found.setdefault(way, []).append(length / (time.perf_counter() - began))
        if len(texts) != 1:
            raise RuntimeError(f'seed {seed}: the streamed text differs from the predicted one')
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model_dir = pathlib.Path(folder) / server_process.MODEL
        model_dir.mkdir()
        server_process.write_model(model_dir)
        with ServerProcess(model_dir) as process:
            for way, rates in _rates(RemoteModel(f'http://{process.rest}'), _FLAGS.length, _FLAGS.rounds).items():
                middle, lowest, highest = statistics.median(rates), min(rates), max(rates)
                print(
                    f'{way:9}{middle:9,.0f} characters a second ({lowest:,.0f} to {highest:,.0f}, {len(rates)} rounds)'
                )


if __name__ == '__main__':
    flags.DEFINE_integer('length', 1000, 'Characters per text.', lower_bound=1, upper_bound=1000)
    flags.DEFINE_integer('rounds', 5, 'Texts to request in both ways.', lower_bound=1)
    program.run(main)
