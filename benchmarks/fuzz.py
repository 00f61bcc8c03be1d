"""Broken requests by the thousand: none is answered with a 5xx, the server lives, answers right and does not grow.

Broken JSON, wrong types, huge numbers, deep nesting, invalid UTF-8 and base64, wrong dimensions, HTTP that is none or
breaks off, gRPC messages with other types, shapes and bytes: see mutations.py. After each hundred, good requests of all
signatures have to be answered as at first. Over gRPC neither INTERNAL nor UNKNOWN may come; over REST, 501 is right for
:classify and :regress, as these are not offered. Exit code 1 if anything was wrong.

  python -m benchmarks.fuzz --requests=2000 --seed=1
"""

import contextlib
import http.client
import json
import pathlib
import random
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Sequence

import grpc
from absl import flags

from benchmarks import mutations, server_process
from benchmarks.mutations import MAX_BODY_BYTES, GrpcMutations, GrpcRequest, HttpMutations, HttpRequest
from benchmarks.server_process import ServerProcess
from benchmarks.traffic import BAD, GRPC, REST, Answer, Call, Client, Requests, difference
from pipeline import program

_FLAGS = flags.FLAGS
_PATIENCE = 60  # seconds for an answer
_CHECKED_EVERY = 100  # requests
_SETTLED = 0.25  # of the requests; from there on memory has to stay
_GROWTH = 1.1  # the most that it may grow by after that
_NOT_OFFERED = (b':classify', b':regress')
_WRONG_CODES = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
_HUNG_UP = 'connection closed'


def ask_http(address: str, request: HttpRequest) -> str:
    """The status, or that there was none. Raises `OSError` where neither comes."""
    host, _, port = address.rpartition(':')
    with socket.create_connection((host, int(port)), _PATIENCE) as connection:
        try:
            connection.sendall(request.content)
            if request.ending == mutations.GONE:
                return _HUNG_UP
            if request.ending == mutations.MAYBE:
                connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection, method=request.method)
            response.begin()
            response.read(2**16)
        except (http.client.HTTPException, ConnectionResetError, BrokenPipeError):
            return _HUNG_UP
        return str(response.status)


def http_problem(request: HttpRequest, status: str) -> str | None:
    """What is wrong with a status for a request, if anything."""
    if status == _HUNG_UP:
        return 'no answer' if request.ending == mutations.ANSWER else None
    if status == '501' and any(verb in request.content[:200] for verb in _NOT_OFFERED):
        return None
    return f'status {status}' if int(status) >= 500 else None


def ask_grpc(channel: grpc.Channel, request: GrpcRequest) -> tuple[grpc.StatusCode, str]:
    """The code and the message."""
    try:
        channel.unary_unary(request.method)(request.content, request.timeout)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ''


def grpc_problem(request: GrpcRequest, code: grpc.StatusCode, message: str) -> str | None:
    """What is wrong with a code for a request, if anything."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and request.timeout < _PATIENCE:
        return None
    return f'{code.name}: {message}' if code in _WRONG_CODES else None


class Fuzzing:
    """Draws requests of both protocols, sends them, and keeps what came back."""

    def __init__(self, server: ServerProcess, calls: Sequence[Call], seed: int):
        self._server = server
        self._chance = random.Random(seed)
        self._http = HttpMutations(_good(calls, REST), seed)
        self._grpc = GrpcMutations(_good(calls, GRPC), seed)
        self._channel = grpc.insecure_channel(server.grpc)
        self.answers: Counter[tuple[str, str, str]] = Counter()
        self.slowest: tuple[float, str] = (0.0, '')
        self.problems: list[str] = []

    def send_one(self) -> None:
        """Draws a request, sends it, and judges the answer."""
        began = time.monotonic()
        if self._chance.random() < 0.6:
            request = self._http.draw()
            try:
                code = ask_http(self._server.rest, request)
                problem = http_problem(request, code)
            except OSError as error:
                code, problem = 'none', repr(error)
            protocol = REST
        else:
            request = self._grpc.draw()
            status, message = ask_grpc(self._channel, request)
            protocol, code, problem = GRPC, status.name, grpc_problem(request, status, message)
        self.answers[protocol, request.how, code] += 1
        self.slowest = max(
            self.slowest, (time.monotonic() - began, f'{protocol}, {request.how}: {request.content[:300]!r}')
        )
        if problem:
            self.problems.append(f'{protocol}, {request.how}: {problem}; {request.content[:300]!r}')


def _good(calls: Sequence[Call], protocol: str) -> list[Call]:
    return [call for call in calls if call.protocol == protocol and call.kind != BAD]


def _ask_all(server: ServerProcess, calls: Sequence[Call]) -> list[Answer]:
    with contextlib.closing(Client(server.rest, server.grpc)) as client:
        return [client.ask(call) for call in calls]


def _same(found: Sequence[Answer], expected: Sequence[Answer]) -> bool:
    return all(difference(one, other) == 0 for one, other in zip(found, expected, strict=True))


def _fuzz(server: ServerProcess, calls: Sequence[Call]) -> list[str]:
    """Prints as it goes; what was wrong."""
    expected = _ask_all(server, calls)
    fuzzing, memory = Fuzzing(server, calls, _FLAGS.seed), []
    for number in range(1, _FLAGS.requests + 1):
        fuzzing.send_one()
        if number % _CHECKED_EVERY == 0:
            if not _same(_ask_all(server, calls), expected):
                fuzzing.problems.append(f'after {number} requests: a good request is answered otherwise than at first')
            memory.append(server.resident_bytes())
            print(f'{number:5} requests: {memory[-1] / 2**20:.0f} MiB, {len(fuzzing.problems)} problems', flush=True)
    for (protocol, how, code), count in sorted(fuzzing.answers.items()):
        print(f'{protocol:5} {how:40} {code:20} {count:5}')
    print(f'slowest: {fuzzing.slowest[0]:.2f} s, {fuzzing.slowest[1]}')
    settled = memory[int(len(memory) * _SETTLED) :]
    if settled and max(settled) > _GROWTH * settled[0]:
        fuzzing.problems.append(f'memory grew from {settled[0]} to {max(settled)} bytes')
    return fuzzing.problems


def main() -> int:
    with contextlib.ExitStack() as held:
        model_dir = pathlib.Path(held.enter_context(tempfile.TemporaryDirectory())) / server_process.MODEL
        server_process.write_model(model_dir)
        description = json.loads((model_dir / '1' / 'assets.extra' / 'charrnn.json').read_text('utf-8'))
        calls = Requests(description, _FLAGS.seed).calls()[::8]
        server = held.enter_context(ServerProcess(model_dir, f'--max_body_bytes={MAX_BODY_BYTES}'))
        problems = _fuzz(server, calls)
        said = server.stderr()
        server.terminate()
        if server.wait() != 0:
            problems.append(f'exit code {server.exit_code}')
    if 'Traceback' in said:
        problems.append(f'the server printed a traceback: {said[-3000:]}')
    for problem in problems:
        print(f'WRONG: {problem}')
    print(f'wrong: {len(problems)}')
    return 1 if problems else 0


if __name__ == '__main__':
    flags.DEFINE_integer('requests', 2000, 'How many broken requests.', lower_bound=1)
    flags.DEFINE_integer('seed', 1, 'Draws them.')
    program.run(main)
