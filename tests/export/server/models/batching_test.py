"""Requests share batches without an effect on their answers; limits refuse further requests."""

import concurrent.futures
import contextlib
import http.client
import itertools
import threading
import time

import grpc
import numpy as np
import pytest

from export.server.models.config import ModelConfig
from export.server.models.servable import Servable
from export.server.options import BatchingOptions
from tests.export.server import served_models
from tests.export.server.client import PATIENCE, Stubs, predict_request

THREADS = 32
ROUNDS = 6
SLOW = 300_000  # iterations


@pytest.fixture(scope='module')
def probe(tmp_path_factory):
    """A model that says how many rows were in its batch."""
    base = tmp_path_factory.mktemp('probe')
    served_models.write_probe(base / '1')
    return ModelConfig('probe', base)


def _at_once(calls):
    """The results of `calls`, all begun at the same moment."""
    barrier = threading.Barrier(len(calls))

    def call(function):
        barrier.wait()
        return function()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call, function) for function in calls]]


def _rows(address, signature, count):
    bodies = [{'signature_name': signature, 'inputs': [0]}] * count
    answers = _at_once([lambda body=body: address.predict('probe', body) for body in bodies])
    return [row for answer in answers for row in answer.document['outputs']['rows']]


def test_rows_of_concurrent_requests_share_a_batch_where_the_artifact_can_check_them(probe, serve):
    # A full batch starts at once, so four requests need not wait for the 10 s.
    _, address = serve([probe], batches=BatchingOptions(max_batch_size=4, batch_timeout_micros=10_000_000))
    assert _rows(address, 'serving_default', 4) == [4, 4, 4, 4]
    assert _rows(address, 'alone', 4) == [1, 1, 1, 1]


def test_request_larger_than_a_batch_runs_alone(probe, serve):
    _, address = serve([probe], batches=BatchingOptions(max_batch_size=4, batch_timeout_micros=0))
    assert address.predict('probe', {'inputs': [0] * 5}).document['outputs']['rows'] == [5] * 5


def test_versions_and_signatures_never_answer_each_others_requests(probe, tmp_path):
    options = BatchingOptions(max_batch_size=THREADS, batch_timeout_micros=5_000)
    servables = {
        0: Servable('probe', 1, probe.base_path / '1', options),
        100: Servable('probe', 1, served_models.write_probe(tmp_path, offset=100), options),
    }

    def ask(offset, signature, number):
        outputs = servables[offset].predict(predict_request('probe', signature, spin=np.int32([number]))).outputs
        expected = {'sum': [number + offset]} if signature == 'serving_default' else {'product': [number * offset]}
        return {name: list(proto.int_val) for name, proto in outputs.items() if name != 'rows'} == expected

    kinds = list(itertools.product(servables, ['serving_default', 'product'], range(8)))
    assert all(_at_once([lambda kind=kind: ask(*kind) for kind in kinds]))


GOOD = [
    ('', {'prefix': ['分', '不分开']}),
    ('', {'prefix': ['山一程']}),
    ('generate', {
        'prefix': ['分', '你'], 'length': np.int32([9, 3]), 'temperature': np.float32([1, 0]),
        'top_k': np.int32([0, 3]), 'top_p': np.float32([0.9, 1]), 'stop': ['山', ''], 'seed': np.int64([7, 8]),
    }),
    ('score', {'text': ['分开 山一程', '不分']}),
    ('score', {'text': ['分开']}),
    ('sample', {'prefix': ['山一程', '你'], 'seed': np.int64([3, 4])}),
    ('step', {'ids': np.int32([0, 3]), 'state_0': np.full([2, 16], 0.25, np.float32)}),
]  # fmt: skip
BAD = [
    ('', {'prefix': ['分', '囧']}, "prefix[1] contains '囧'"),
    ('score', {'text': ['囧']}, "text[0] contains '囧'"),
    ('step', {'ids': np.int32([-1]), 'state_0': np.zeros([1, 16], np.float32)}, 'ids[0] is -1'),
    ('step', {'ids': np.int32([1]), 'state_0': np.zeros([2, 16], np.float32)}, 'state_0 has 2 rows and ids 1'),
    ('step', {'ids': np.int32([1]), 'state_0': np.zeros([1, 15], np.float32)}, "input 'state_0' must have the shape"),
]  # fmt: skip


def test_concurrent_valid_and_invalid_requests_get_their_own_answers(own_address):
    stubs = Stubs(own_address.grpc)
    serial = [stubs.predict(predict_request('charrnn', signature, **inputs)) for signature, inputs in GOOD]
    wrong = []

    def ask(worker):
        for turn in range(ROUNDS):
            number = worker + turn
            signature, inputs = GOOD[number % len(GOOD)]
            found = stubs.predict(predict_request('charrnn', signature, **inputs))
            expected = serial[number % len(GOOD)]
            for name, value in expected.items():
                same = np.array_equal if value.dtype == object else _close
                if not same(found[name], value):
                    wrong.append((signature, name, value, found[name]))
            signature, inputs, message = BAD[number % len(BAD)]
            columns = {name: np.asarray(value).tolist() for name, value in inputs.items()}
            answer = own_address.predict('charrnn', {'signature_name': signature, 'inputs': columns})
            if answer.status != 400 or message not in answer.document['error']:
                wrong.append((signature, message, answer))

    _at_once([lambda worker=worker: ask(worker) for worker in range(THREADS)])
    assert wrong == []


def _close(found, expected):
    # A matrix product sums a batch of another size in another order: the last bits may differ.
    return found.shape == expected.shape and np.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_full_queue_is_unavailable(probe, serve):
    options = BatchingOptions(max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1, batch_timeout_micros=0)
    _, address = serve([probe], batches=options)
    answers = _at_once([lambda: address.predict('probe', {'inputs': [SLOW]})] * 8)
    assert {answer.status for answer in answers} == {200, 503}
    refused = next(answer for answer in answers if answer.status == 503)
    assert int(refused.headers['retry-after']) > 0
    assert 'queue' in refused.document['error']


def test_too_many_concurrent_requests_are_unavailable(probe, serve):
    server, address = serve([probe], max_concurrent_requests=1)
    with server.predictor.slot():
        refused = address.predict('probe', {'inputs': [0]})
        assert (refused.status, 'retry-after' in refused.headers) == (503, True)
        with pytest.raises(grpc.RpcError) as error:
            Stubs(address.grpc).predict(predict_request('probe', spin=np.int32([0])))
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert address.http('GET', '/v1/models/probe').status == 200
    assert address.predict('probe', {'inputs': [0]}).status == 200


def test_deadlines(probe, serve):
    _, address = serve([probe], rest_api_timeout_in_ms=50)
    answer = address.predict('probe', {'inputs': [SLOW]})
    assert (answer.status, answer.document) == (504, {'error': 'no answer within 0.05 s'})
    with pytest.raises(grpc.RpcError) as error:
        Stubs(address.grpc).predict(predict_request('probe', spin=np.int32([SLOW])), timeout=0.05)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # The server has given it up too, and did not only lose its client: both are counted so.
    given_up = b':tensorflow:serving:request_count{model_name="probe",status="DEADLINE_EXCEEDED"} 2.0'
    patience = time.monotonic() + PATIENCE
    while given_up not in address.http('GET', '/monitoring/prometheus/metrics').body:
        assert time.monotonic() < patience


def test_timeout_is_reported(probe, serve):
    server, address = serve([probe], drain_seconds=0.05)

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            address.predict('probe', {'inputs': [5 * SLOW]})

    request = threading.Thread(target=ask)
    request.start()
    while not server.predictor.in_progress:
        time.sleep(0.001)
    assert server.stop() == 1
    request.join()
