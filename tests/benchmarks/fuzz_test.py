"""The short form of benchmarks.fuzz: broken requests of every kind over both protocols, and its judge."""

import json
import urllib.parse

import grpc
import numpy as np
import pytest

from benchmarks import fuzz, mutations
from benchmarks.mutations import GrpcMutations, GrpcRequest, HttpMutations, HttpRequest
from benchmarks.traffic import GRPC, REST, Answer, Client, Requests, difference

REQUESTS = 150  # of each protocol


@pytest.fixture(scope='module')
def calls(model_dirs):
    description = (model_dirs / 'charrnn' / '1' / 'assets.extra' / 'charrnn.json').read_text('utf-8')
    return Requests(json.loads(description)).calls()[::6]


def test_broken_requests_are_the_clients_errors_and_change_nothing(calls, own_address, stubs):
    rest = urllib.parse.urlsplit(own_address.rest).netloc
    client = Client(rest, own_address.grpc)
    before = [client.ask(call) for call in calls]
    over_http = HttpMutations([call for call in calls if call.protocol == REST], seed=0)
    over_grpc = GrpcMutations([call for call in calls if call.protocol == GRPC], seed=0)
    problems = []
    for _ in range(REQUESTS):
        request = over_http.draw()
        problems.append((request, fuzz.http_problem(request, fuzz.ask_http(rest, request))))
        request = over_grpc.draw()
        problems.append((request, fuzz.grpc_problem(request, *fuzz.ask_grpc(stubs.channel, request))))
    assert [(request, problem) for request, problem in problems if problem] == []
    assert [difference(client.ask(call), answer) for call, answer in zip(calls, before, strict=True)] == [0] * len(
        calls
    )
    client.close()


def test_what_is_wrong_with_an_answer():
    whole, broken_off = HttpRequest('', b'POST /'), HttpRequest('', b'POST /', ending=mutations.MAYBE)
    assert fuzz.http_problem(whole, '400') is None
    assert fuzz.http_problem(whole, '500') == 'status 500'
    assert fuzz.http_problem(whole, '501') == 'status 501'
    assert fuzz.http_problem(HttpRequest('', b'POST /v1/models/charrnn:classify'), '501') is None
    assert fuzz.http_problem(whole, 'connection closed') == 'no answer'
    assert fuzz.http_problem(broken_off, 'connection closed') is None
    patient, hasty = GrpcRequest('', '', b''), GrpcRequest('', '', b'', timeout=0.001)
    assert fuzz.grpc_problem(patient, grpc.StatusCode.INVALID_ARGUMENT, 'm') is None
    assert fuzz.grpc_problem(patient, grpc.StatusCode.INTERNAL, 'm') == 'INTERNAL: m'
    assert fuzz.grpc_problem(patient, grpc.StatusCode.DEADLINE_EXCEEDED, 'm') == 'DEADLINE_EXCEEDED: m'
    assert fuzz.grpc_problem(hasty, grpc.StatusCode.DEADLINE_EXCEEDED, 'm') is None


@pytest.mark.parametrize(
    ('other', 'apart'),
    [
        (Answer('200', ['ab']), 0),
        (Answer('200', ['ac']), float('inf')),
        (Answer('400', ['ab']), float('inf')),
        (Answer('200', 'ab'), float('inf')),
        (Answer('200', ['ab', 'ab']), float('inf')),
    ],
)
def test_difference_of_texts(other, apart):
    assert difference(other, Answer('200', ['ab'])) == apart


def test_difference_of_numbers():
    answer = Answer('OK', {'n': np.int32([3]), 'p': np.float32([0.5, 200])})
    assert difference(answer, answer) == 0
    assert difference(Answer('OK', {'n': np.int32([4]), 'p': np.float32([0.5, 200])}), answer) == float('inf')
    assert difference(Answer('OK', {'n': np.int32([3])}), answer) == float('inf')
    assert difference(Answer('OK', {'n': np.int32([3]), 'p': np.float32([0.5, 202])}), answer) == pytest.approx(0.01)
    assert difference(Answer('OK', {'n': np.int32([3]), 'p': np.float32([0.5, np.nan])}), answer) == float('inf')
