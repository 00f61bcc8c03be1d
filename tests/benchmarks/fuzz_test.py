"""A short run of benchmarks.fuzz over both protocols, and its checks of an answer."""

import contextlib
import json

import grpc
import numpy as np
import pytest

from benchmarks import fuzz, mutations, server_process
from benchmarks.mutations import GrpcMutations, GrpcRequest, HttpMutations, HttpRequest
from benchmarks.traffic import GRPC, REST, Answer, Client, Requests, difference
from export.artifact import versions
from export.server.models.config import ModelConfig
from tests.export.server.in_process import serving

pytestmark = pytest.mark.slow

REQUESTS = 150  # of each protocol


def test_malformed_requests_are_client_errors_and_change_no_answer(version_dirs):
    model_dir = version_dirs['rnn'].parent
    description = json.loads((model_dir / '1' / versions.DESCRIPTION).read_text('utf-8'))
    calls = Requests(description).calls()[::6]
    with (
        serving([ModelConfig(server_process.MODEL, model_dir)]) as server,
        grpc.insecure_channel(f'127.0.0.1:{server.grpc_port}') as channel,
        contextlib.closing(Client(f'127.0.0.1:{server.rest_port}', f'127.0.0.1:{server.grpc_port}')) as client,
    ):
        before = [client.ask(call) for call in calls]
        over_http = HttpMutations([call for call in calls if call.protocol == REST], seed=0)
        over_grpc = GrpcMutations([call for call in calls if call.protocol == GRPC], seed=0)
        problems = []
        for _ in range(REQUESTS):
            request = over_http.draw()
            status = fuzz.ask_http(f'127.0.0.1:{server.rest_port}', request)
            problems.append((request, fuzz.http_problem(request, status)))
            request = over_grpc.draw()
            problems.append((request, fuzz.grpc_problem(request, *fuzz.ask_grpc(channel, request))))
        assert [(request, problem) for request, problem in problems if problem] == []
        after = [client.ask(call) for call in calls]
        assert [difference(*pair) for pair in zip(after, before, strict=True)] == [0] * len(calls)


def test_fault_of_an_answer():
    complete, incomplete = HttpRequest('', b'POST /'), HttpRequest('', b'POST /', ending=mutations.HALF_CLOSE)
    assert fuzz.http_problem(complete, '400') is None
    assert fuzz.http_problem(complete, '500') == 'status 500'
    assert fuzz.http_problem(complete, '501') == 'status 501'
    assert fuzz.http_problem(HttpRequest('', b'POST /v1/models/charrnn:classify'), '501') is None
    assert fuzz.http_problem(complete, 'connection closed') == 'no answer'
    assert fuzz.http_problem(incomplete, 'connection closed') is None
    long_deadline, short_deadline = GrpcRequest('', '', b''), GrpcRequest('', '', b'', timeout=0.001)
    assert fuzz.grpc_problem(long_deadline, grpc.StatusCode.INVALID_ARGUMENT, 'm') is None
    assert fuzz.grpc_problem(long_deadline, grpc.StatusCode.INTERNAL, 'm') == 'INTERNAL: m'
    assert fuzz.grpc_problem(long_deadline, grpc.StatusCode.DEADLINE_EXCEEDED, 'm') == 'DEADLINE_EXCEEDED: m'
    assert fuzz.grpc_problem(short_deadline, grpc.StatusCode.DEADLINE_EXCEEDED, 'm') is None


@pytest.mark.parametrize(
    ('other', 'expected'),
    [
        (Answer('200', ['ab']), 0),
        (Answer('200', ['ac']), float('inf')),
        (Answer('400', ['ab']), float('inf')),
        (Answer('200', 'ab'), float('inf')),
        (Answer('200', ['ab', 'ab']), float('inf')),
    ],
)
def test_difference_of_texts_is_zero_or_infinite(other, expected):
    assert difference(other, Answer('200', ['ab'])) == expected


def test_difference_of_numbers_is_exact_for_integers_and_relative_for_large_floats():
    answer = Answer('OK', {'n': np.int32([3]), 'p': np.float32([0.5, 200])})
    assert difference(answer, answer) == 0
    assert difference(Answer('OK', {'n': np.int32([4]), 'p': np.float32([0.5, 200])}), answer) == float('inf')
    assert difference(Answer('OK', {'n': np.int32([3])}), answer) == float('inf')
    assert difference(Answer('OK', {'n': np.int32([3]), 'p': np.float32([0.5, 202])}), answer) == pytest.approx(0.01)
    assert difference(Answer('OK', {'n': np.int32([3]), 'p': np.float32([0.5, np.nan])}), answer) == float('inf')
