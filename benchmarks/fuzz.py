"""Sends thousands of malformed requests to a server, which must answer correctly, survive and not grow.

The requests have malformed JSON, wrong types, huge numbers, deep nesting, invalid UTF-8 and base64, wrong dimensions,
malformed or incomplete HTTP, and gRPC messages with wrong types, shapes and bytes (mutations.py). No answer may be a
5xx, except 501 for :classify and :regress, which the server does not offer; none may be INTERNAL or UNKNOWN over gRPC.
After every hundred requests, valid requests to all signatures must have the same answers as at the start. The exit code
is 1 if anything was wrong.

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
from benchmarks.traffic import BAD, GRPC, REST, WITHOUT_PROXY, Answer, Call, Client, Requests, difference
from data import program
from export.artifact import versions

_FLAGS = flags.FLAGS
_TIMEOUT = 60  # seconds for an answer
_CHECK_EVERY = 100  # requests
_SETTLED = 0.25  # of the requests; after that, memory must not grow
_GROWTH = 1.1  # largest factor that counts as constant
_NOT_OFFERED = (b':classify', b':regress')
_WRONG_CODES = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CLOSED = 'connection closed'


def ask_http(address: str, request: HttpRequest) -> str:
    """Returns the status, or that the connection closed. Raises `OSError` on a timeout."""
    host, _, port = address.rpartition(':')
    with socket.create_connection((host, int(port)), _TIMEOUT) as connection:
        try:
            connection.sendall(request.content)
            if request.ending == mutations.DISCONNECT:
                return _CLOSED
            if request.ending == mutations.HALF_CLOSE:
                connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection, method=request.method)
            response.begin()
            response.read(2**16)
        except (http.client.HTTPException, ConnectionResetError, BrokenPipeError):
            return _CLOSED
        return str(response.status)


def http_problem(request: HttpRequest, status: str) -> str | None:
    """Returns the fault in a status, if any."""
    if status == _CLOSED:
        return 'no answer' if request.ending == mutations.WAIT else None
    if status == '501' and any(verb in request.content[:200] for verb in _NOT_OFFERED):
        return None
    return f'status {status}' if int(status) >= 500 else None


def ask_grpc(channel: grpc.Channel, request: GrpcRequest) -> tuple[grpc.StatusCode, str]:
    """Returns the code and the message."""
    try:
        channel.unary_unary(request.method)(request.content, request.timeout)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ''


def grpc_problem(request: GrpcRequest, code: grpc.StatusCode, message: str) -> str | None:
    """Returns the fault in a code, if any."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and request.timeout < _TIMEOUT:
        return None
    return f'{code.name}: {message}' if code in _WRONG_CODES else None


class Fuzzing:
    """Draws and sends requests over both protocols and records the answers."""

    def __init__(self, server: ServerProcess, calls: Sequence[Call], seed: int):
        self._server = server
        self._chance = random.Random(seed)
        self._http = HttpMutations(_valid(calls, REST), seed)
        self._grpc = GrpcMutations(_valid(calls, GRPC), seed)
        self._channel = grpc.insecure_channel(server.grpc, [WITHOUT_PROXY])
        self.answers: Counter[tuple[str, str, str]] = Counter()
        self.slowest: tuple[float, str] = (0.0, '')
        self.problems: list[str] = []

    def send_one(self) -> None:
        """Draws a request, sends it and checks the answer."""
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
        self.answers[protocol, request.mutation, code] += 1
        self.slowest = max(
            self.slowest, (time.monotonic() - began, f'{protocol}, {request.mutation}: {request.content[:300]!r}')
        )
        if problem:
            self.problems.append(f'{protocol}, {request.mutation}: {problem}; {request.content[:300]!r}')


def _valid(calls: Sequence[Call], protocol: str) -> list[Call]:
    return [call for call in calls if call.protocol == protocol and call.kind != BAD]


def _ask_all(server: ServerProcess, calls: Sequence[Call]) -> list[Answer]:
    with contextlib.closing(Client(server.rest, server.grpc)) as client:
        return [client.ask(call) for call in calls]


def _equal(found: Sequence[Answer], expected: Sequence[Answer]) -> bool:
    return all(difference(one, other) == 0 for one, other in zip(found, expected, strict=True))


def _fuzz(server: ServerProcess, calls: Sequence[Call], num_requests: int, seed: int) -> list[str]:
    """Sends the requests, prints the progress and returns the problems."""
    expected = _ask_all(server, calls)
    fuzzing, memory = Fuzzing(server, calls, seed), []
    for number in range(1, num_requests + 1):
        fuzzing.send_one()
        if number % _CHECK_EVERY == 0:
            if not _equal(_ask_all(server, calls), expected):
                fuzzing.problems.append(f'after {number} requests: the answer to a valid request has changed')
            memory.append(server.resident_bytes())
            print(f'{number:5} requests: {memory[-1] / 2**20:.0f} MiB, {len(fuzzing.problems)} problems', flush=True)
    for (protocol, mutation, code), count in sorted(fuzzing.answers.items()):
        print(f'{protocol:5} {mutation:40} {code:20} {count:5}')
    print(f'slowest: {fuzzing.slowest[0]:.2f} s, {fuzzing.slowest[1]}')
    settled = memory[int(len(memory) * _SETTLED) :]
    if settled and max(settled) > _GROWTH * settled[0]:
        fuzzing.problems.append(f'memory grew from {settled[0]} to {max(settled)} bytes')
    return fuzzing.problems


def main() -> int:
    with contextlib.ExitStack() as held:
        model_dir = pathlib.Path(held.enter_context(tempfile.TemporaryDirectory())) / server_process.MODEL
        server_process.write_model(model_dir)
        description = json.loads((model_dir / '1' / versions.DESCRIPTION).read_text('utf-8'))
        calls = Requests(description, _FLAGS.seed).calls()[::8]
        server = held.enter_context(ServerProcess(model_dir, f'--max_body_bytes={MAX_BODY_BYTES}'))
        problems = _fuzz(server, calls, _FLAGS.requests, _FLAGS.seed)
        stderr = server.stderr()
        server.terminate()
        if server.wait() != 0:
            problems.append(f'exit code {server.exit_code}')
    if 'Traceback' in stderr:
        problems.append(f'the server printed a traceback: {stderr[-3000:]}')
    for problem in problems:
        print(f'WRONG: {problem}')
    print(f'wrong: {len(problems)}')
    return 1 if problems else 0


if __name__ == '__main__':
    flags.DEFINE_integer('requests', 2000, 'Number of malformed requests.', lower_bound=1)
    flags.DEFINE_integer('seed', 1, 'Random seed of the requests.')
    program.run(main)
