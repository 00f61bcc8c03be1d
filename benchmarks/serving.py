"""A server under load: whether every answer is right, how many a second, with rows of requests in batches and without.

Threads, each with a connection of each protocol, mix requests of all signatures and ones with a bad row. Right is the
answer that the server gave when it was asked one request at a time: texts, integers, codes and messages the same, and
floats to 1e-5 (a matrix product sums a batch of another size in another order). After a third of the time a new version
appears. At the end, under the same load, comes SIGTERM; only a request whose connection was refused, or that was told
over gRPC that the server shuts down, counts as not taken; all others have to be answered. Exit code 1 if anything was
wrong.

  python -m benchmarks.serving --seconds=60 --threads=32
  python -m benchmarks.serving --kinds=serving_default            (one signature alone)
  python -m benchmarks.serving --model_base_path=models/charrnn
"""

import concurrent.futures
import contextlib
import json
import math
import pathlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from absl import flags

from benchmarks import load, server_process
from benchmarks.load import Record
from benchmarks.server_process import ServerProcess
from benchmarks.traffic import BAD, GRPC, KINDS, REST, Answer, Call, Client, Requests, difference
from pipeline import program

_FLAGS = flags.FLAGS
_SERVERS = {'batched': ('--enable_batching=true',), 'unbatched': ('--enable_batching=false',)}
_REFUSALS = {'400', 'INVALID_ARGUMENT'}
_MOST_SHOWN = 5


class Run:
    """What a load on one server showed."""

    def __init__(self, calls: Sequence[Call], records: Sequence[Record], stopped: float, seconds: float):
        """`stopped`: when SIGTERM was sent, `seconds` after the load began."""
        self._calls = calls
        self._seconds = seconds
        self.measured = [r for r in records if r.ended <= stopped]
        self.drained = [r for r in records if r.ended > stopped and r.verdict != load.REFUSED]
        self.refused = sum(r.verdict == load.REFUSED for r in records if r.ended > stopped)
        self.problems = Counter(
            f'{calls[r.call].kind} over {calls[r.call].protocol}, {when}: {r.verdict}'
            for when, found in {'under load': self.measured, 'after SIGTERM': self.drained}.items()
            for r in found
            if r.verdict != load.RIGHT
        )
        self.versions = Counter(r.version for r in records if r.version is not None)
        self.exact = sum(r.difference == 0 for r in self.measured) / max(len(self.measured), 1)
        self.difference = max((r.difference for r in records if r.verdict == load.RIGHT), default=0.0)

    def rows(self, name: str) -> Iterator[tuple]:
        """Of the table: for each kind and protocol, and for all."""
        kinds = sorted({(call.kind, call.protocol) for call in self._calls}, key=lambda k: (k[0] == BAD, *k))
        for kind, protocol in kinds:
            of_kind = [r for r in self.measured if self._calls[r.call].kind == kind]
            yield self._row(f'{name}, {kind}', protocol, [r for r in of_kind if self._of(r, protocol)])
        for protocol in (REST, GRPC):
            yield self._row(f'{name}, all', protocol, [r for r in self.measured if self._of(r, protocol)])
        yield self._row(f'{name}, all', 'both', self.measured)

    def _of(self, record: Record, protocol: str) -> bool:
        return self._calls[record.call].protocol == protocol

    def _row(self, name: str, protocol: str, records: Sequence[Record]) -> tuple:
        times = [r.ended - r.began for r in records] or [math.nan]
        cuts = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
        return name, protocol, len(records), len(records) / self._seconds, cuts[49], cuts[98], max(times)


def _serial_answers(server: ServerProcess, calls: Sequence[Call]) -> list[Answer]:
    """One request at a time; the second time it has to be the same to the bit."""
    client = Client(server.rest, server.grpc)
    answers = [client.ask(call) for call in calls]
    for call, answer in zip(calls, answers, strict=True):
        if (answer.code in _REFUSALS) != (call.kind == BAD) or answer.code not in {'200', 'OK', *_REFUSALS}:
            raise RuntimeError(f'{call.kind} over {call.protocol} was answered {answer.code}: {answer.content}')
        if difference(client.ask(call), answer):
            raise RuntimeError(f'{call.kind} over {call.protocol} was answered differently the second time')
    client.close()
    return answers


def _measure(
    server: ServerProcess, calls: Sequence[Call], expected: Sequence[Answer], model_dir: pathlib.Path
) -> tuple[Run, list[str]]:
    """Load, a new version after a third of it, SIGTERM under load; and lines about it."""
    seconds, source = _FLAGS.seconds, next(model_dir.iterdir())
    cpu, own_cpu, began = server.cpu_seconds(), time.process_time(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load.run, (server.rest, server.grpc), calls, expected, _FLAGS.threads, seconds)
        concurrent.futures.wait([loading], seconds / 3)
        server_process.copy_version(source, model_dir)
        concurrent.futures.wait([loading], began + seconds - time.monotonic())
        cpu, own_cpu, stopped = server.cpu_seconds() - cpu, time.process_time() - own_cpu, time.monotonic()
        server.terminate()
        exit_code, ended = server.wait(), time.monotonic()
    run = Run(calls, loading.result(), stopped, stopped - began)
    if exit_code != 0:
        run.problems[f'exit code {exit_code}'] += 1
    if len(run.versions) != 2:
        run.problems[f'versions that answered: {dict(run.versions)}'] += 1
    answered = sum(r.verdict == load.RIGHT for r in run.drained)
    return run, [
        f'CPU: server {cpu:.0f} s, this process, which asks, {own_cpu:.0f} s, in {stopped - began:.0f} s',
        f'answers over gRPC by version, the new one written under load: {dict(sorted(run.versions.items()))}',
        f'equal to the serial answers to the bit: {run.exact:.2%}; floats of the others within {run.difference:.1g}',
        f'SIGTERM under load: {answered} of {len(run.drained)} requests in progress or accepted were answered, '
        f'{run.refused} threads were then refused, exit code {exit_code} after {ended - stopped:.1f} s',
    ]


@contextlib.contextmanager
def _model_dir() -> Iterator[pathlib.Path]:
    """A folder with one version alone."""
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder) / server_process.MODEL
        directory.mkdir()
        if _FLAGS.model_base_path:
            from export.artifact.versions import newest_version

            server_process.copy_version(newest_version(pathlib.Path(_FLAGS.model_base_path)), directory)
        else:
            server_process.write_model(directory)
        yield directory


def _run(name: str) -> Run:
    with _model_dir() as model_dir:
        description = json.loads((next(model_dir.iterdir()) / 'assets.extra' / 'charrnn.json').read_text('utf-8'))
        calls = [call for call in Requests(description).calls() if call.kind in _FLAGS.kinds]
        with ServerProcess(model_dir, *_SERVERS[name]) as server:
            run, lines = _measure(server, calls, _serial_answers(server, calls), model_dir)
            print(f'{name}: {len(calls)} different requests; {_FLAGS.threads} threads, {_FLAGS.seconds:g} s')
            for line in lines:
                print(f'  {line}')
            for problem, count in run.problems.most_common(_MOST_SHOWN):
                print(f'  WRONG, {count} times: {problem}')
            if run.problems:
                print(server.stderr())
        return run


def main() -> int:
    runs = {name: _run(name) for name in _SERVERS}
    print(f'\n{"":32}{"":6}{"requests":>10}{"a second":>10}{"p50 ms":>9}{"p99 ms":>9}{"max ms":>9}')
    for name, run in runs.items():
        for what, protocol, count, rate, p50, p99, longest in run.rows(name):
            times = ''.join(f'{1000 * t:9.1f}' for t in (p50, p99, longest))
            print(f'{what:32}{protocol:6}{count:10}{rate:10.1f}{times}')
    wrong = sum(sum(run.problems.values()) for run in runs.values())
    print(f'\nwrong: {wrong}')
    return 1 if wrong else 0


if __name__ == '__main__':
    flags.DEFINE_float('seconds', 60, 'How long each server is under load.', lower_bound=1)
    flags.DEFINE_integer('threads', 32, 'Threads that ask, in all.', lower_bound=1)
    flags.DEFINE_multi_enum('kinds', KINDS, KINDS, 'What is asked; give it again for more than one.')
    flags.DEFINE_string('model_base_path', None, "Its newest version is tried. Default: one of the section's size.")
    program.run(main)
