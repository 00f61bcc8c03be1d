"""Puts a server under load, with and without batching; checks every answer and measures requests per second.

Threads, each with one connection per protocol, send a mix of requests to all signatures and of requests with an invalid
row. A correct answer equals the one to the same request sent alone: the same texts, integers, codes and messages, and
floats to 1e-5 (a matrix product of another batch size sums in another order). After a third of the time, a new version
appears. At the end the server gets SIGTERM, still under load. It may refuse a connection, or answer over gRPC that it
shuts down; every other request must be answered. The exit code is 1 if anything was wrong.

  python -m benchmarks.serving --seconds=60 --threads=32
  python -m benchmarks.serving --kinds=serving_default            (only one signature)
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
from data import program
from export.artifact import versions

_FLAGS = flags.FLAGS
_SERVERS = {'batched': ('--enable_batching=true',), 'unbatched': ('--enable_batching=false',)}
_REFUSALS = {'400', 'INVALID_ARGUMENT'}
_MOST_SHOWN = 5


class Run:
    """Results of the load on one server."""

    def __init__(self, calls: Sequence[Call], records: Sequence[Record], stopped: float, seconds: float):
        """`stopped` is the time of SIGTERM, `seconds` after the start of the load."""
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
        if len(self.versions) != 2:
            answered = ', '.join(map(str, self.versions)) or 'none'
            self.problems[
                f'versions that answered over gRPC: {answered}, but two must: if the server had no time to load the '
                f'second one, use more than --seconds={seconds:.0f}'
            ] += 1
        self.exact = sum(r.difference == 0 for r in self.measured) / max(len(self.measured), 1)
        self.difference = max((r.difference for r in records if r.verdict == load.RIGHT), default=0.0)

    def rows(self, name: str) -> Iterator[tuple]:
        """Yields rows of the table: per kind and protocol, then totals."""
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
        cuts = statistics.quantiles(times, n=100, method='inclusive') if len(times) > 1 else times * 99
        return name, protocol, len(records), len(records) / self._seconds, cuts[49], cuts[98], max(times)


def _serial_answers(server: ServerProcess, calls: Sequence[Call]) -> list[Answer]:
    """Sends one request at a time, twice; the second answer must be bit-equal. Returns the answers."""
    client = Client(server.rest, server.grpc)
    answers = [client.ask(call) for call in calls]
    for call, answer in zip(calls, answers, strict=True):
        if (answer.code in _REFUSALS) != (call.kind == BAD) or answer.code not in {'200', 'OK', *_REFUSALS}:
            raise RuntimeError(f'{call.kind} over {call.protocol} has the answer {answer.code}: {answer.content}')
        if difference(client.ask(call), answer):
            raise RuntimeError(f'{call.kind} over {call.protocol} has another answer the second time')
    client.close()
    return answers


def _measure(
    server: ServerProcess,
    calls: Sequence[Call],
    expected: Sequence[Answer],
    model_dir: pathlib.Path,
    threads: int,
    seconds: float,
) -> tuple[Run, list[str]]:
    """Runs the load, adds a version after a third of it and ends with SIGTERM; returns results and lines to print."""
    source = next(model_dir.iterdir())
    cpu, own_cpu, began = server.cpu_seconds(), time.process_time(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load.run, (server.rest, server.grpc), calls, expected, threads, seconds)
        concurrent.futures.wait([loading], seconds / 3)
        server_process.copy_version(source, model_dir)
        concurrent.futures.wait([loading], began + seconds - time.monotonic())
        cpu, own_cpu, stopped = server.cpu_seconds() - cpu, time.process_time() - own_cpu, time.monotonic()
        server.terminate()
        exit_code, ended = server.wait(), time.monotonic()
    run = Run(calls, loading.result(), stopped, stopped - began)
    if exit_code != 0:
        run.problems[f'exit code {exit_code}'] += 1
    answered = sum(r.verdict == load.RIGHT for r in run.drained)
    return run, [
        f'CPU: server {cpu:.0f} s, clients {own_cpu:.0f} s, in {stopped - began:.0f} s',
        f'answers over gRPC per version, the last one added under load: {dict(sorted(run.versions.items()))}',
        f'bit-equal to the serial answers: {run.exact:.2%}; floats of the others within {run.difference:.1g}',
        f'SIGTERM under load: {answered} of {len(run.drained)} accepted requests were answered, '
        f'{run.refused} threads were refused afterwards, exit code {exit_code} after {ended - stopped:.1f} s',
    ]


@contextlib.contextmanager
def _model_dir(source: str | None) -> Iterator[pathlib.Path]:
    """Yields a temporary model directory with one version: the newest under `source`, or one of the section's size."""
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder) / server_process.MODEL
        directory.mkdir()
        if source:
            server_process.copy_version(versions.newest_version(pathlib.Path(source)), directory)
        else:
            server_process.write_model(directory)
        yield directory


def _run(name: str, source: str | None, kinds: Sequence[str], threads: int, seconds: float) -> Run:
    with _model_dir(source) as model_dir:
        description = json.loads((next(model_dir.iterdir()) / versions.DESCRIPTION).read_text('utf-8'))
        calls = [call for call in Requests(description).calls() if call.kind in kinds]
        with ServerProcess(model_dir, *_SERVERS[name]) as server:
            run, lines = _measure(server, calls, _serial_answers(server, calls), model_dir, threads, seconds)
            print(f'{name}: {len(calls)} different requests; {threads} threads, {seconds:g} s')
            for line in lines:
                print(f'  {line}')
            for problem, count in run.problems.most_common(_MOST_SHOWN):
                print(f'  WRONG, {count} times: {problem}')
            if run.problems:
                print(server.stderr())
        return run


def main() -> int:
    load_settings = (_FLAGS.model_base_path, _FLAGS.kinds, _FLAGS.threads, _FLAGS.seconds)
    runs = {name: _run(name, *load_settings) for name in _SERVERS}
    print(f'\n{"":32}{"":6}{"requests":>10}{"a second":>10}{"p50 ms":>9}{"p99 ms":>9}{"max ms":>9}')
    for name, run in runs.items():
        for what, protocol, count, rate, p50, p99, longest in run.rows(name):
            times = ''.join(f'{1000 * t:9.1f}' for t in (p50, p99, longest))
            print(f'{what:32}{protocol:6}{count:10}{rate:10.1f}{times}')
    wrong = sum(sum(run.problems.values()) for run in runs.values())
    print(f'\nwrong: {wrong}')
    return 1 if wrong else 0


if __name__ == '__main__':
    flags.DEFINE_float('seconds', 60, 'Seconds of load on each server.', lower_bound=1)
    flags.DEFINE_integer('threads', 32, 'Number of client threads.', lower_bound=1)
    flags.DEFINE_multi_enum('kinds', KINDS, KINDS, 'Kinds of requests; repeat the flag for several.')
    flags.DEFINE_string(
        'model_base_path',
        None,
        "Directory of versions, of which the newest is used. Default: a model of the section's size.",
    )
    program.run(main)
