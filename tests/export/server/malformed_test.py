"""Whatever a client sends, it is the client's error: never a 5xx, never an allocation, and the next request is fine."""

import http.client
import random
import resource
import socket
import urllib.parse

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2, types_pb2

from export.server.models.config import ModelConfig
from tests.export.server import contract
from tests.export.server.client import PATIENCE, Answer, predict_request

MUTATIONS = 200

BODIES = {
    'deep lists': b'{"inputs": ' + b'[' * 100_000,
    'deep lists, closed': b'{"inputs": ' + b'[' * 100_000 + b']' * 100_000 + b'}',
    'lists deeper than a tensor': b'{"inputs": ' + b'[' * 300 + b'1' + b']' * 300 + b'}',
    'deep objects': b'{"a":' * 50_000,
    'a deep signature name': b'{"signature_name": ' + b'[' * 900 + b']' * 900 + b'}',
    'invalid UTF-8': b'{"instances": ["\xff\xfe"]}',
    'UTF-16': '{"instances": [1]}'.encode('utf-16'),
    'half a surrogate pair': b'{"signature_name": "\\ud800", "instances": [1]}',
    'a NUL': b'{"signature_name": "\x00", "instances": [1]}',
    'a huge integer': b'{"instances": [' + b'9' * 5000 + b']}',
    'a large integer': b'{"instances": [' + b'9' * 400 + b']}',
    'a huge exponent': b'{"instances": [1e99999999999]}',
    'a bare NaN': b'NaN',
    'the inputs of nothing': b'{"signature_name": "__saved_model_init_op", "inputs": {}}',
}


@pytest.mark.parametrize('name', BODIES)
def test_malformed_bodies(name, own_address):
    answer = own_address.predict('half_plus_two', BODIES[name])
    assert answer.status == 400
    assert set(answer.document) == {'error'}


def test_mutated_bodies_of_good_requests(own_address):
    chosen = random.Random(0)
    bodies = [case.body for case in contract.CASES if case.method == 'POST' and case.status == 200]
    pieces = [b'{', b'[', b'"', b'\\u', b'\xff', b'-', b'1e400', b'null', b'9' * 30, b',', b'NaN', b'{"b64": "*"}']
    for _ in range(MUTATIONS):
        body = bytearray(contract.encoded(chosen.choice(bodies)))
        for _ in range(chosen.randint(1, 4)):
            begin = chosen.randrange(len(body))
            body[begin : begin + chosen.randint(0, 4)] = chosen.choice(pieces)
        answer = own_address.predict('half_plus_two', bytes(body))
        assert answer.status in (200, 400), bytes(body)
    assert own_address.predict('half_plus_two', {'instances': [1]}).document == {'predictions': [2.5]}


def _tensor(**fields):
    dims = fields.pop('dims', [1])
    proto = tensor_pb2.TensorProto(**{'dtype': types_pb2.DT_FLOAT, **fields})
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _unknown_rank():
    proto = _tensor(float_val=[1])
    proto.tensor_shape.unknown_rank = True
    return proto


TENSORS = {
    'content too short': _tensor(dims=[2], tensor_content=b'\0' * 7),
    'content too long': _tensor(dims=[2], tensor_content=b'\0' * 9),
    'too many values': _tensor(dims=[1], float_val=[1, 2]),
    'an unknown type': _tensor(dtype=999, float_val=[1]),
    'no type': _tensor(dtype=types_pb2.DT_INVALID, float_val=[1]),
    'another type': _tensor(dtype=types_pb2.DT_DOUBLE, double_val=[1]),
    'a resource': _tensor(dtype=types_pb2.DT_RESOURCE),
    'a negative dimension': _tensor(dims=[-1], float_val=[1]),
    'a gigantic dimension': _tensor(dims=[2**40], float_val=[1]),
    'a GiB of one value': _tensor(dims=[2**28], float_val=[1]),
    'the largest dimension': _tensor(dims=[2**63 - 1], float_val=[1]),
    'another rank': _tensor(dims=[1, 1], float_val=[1]),
    'no rank': _tensor(dims=[], float_val=[1]),
    'an unknown rank': _unknown_rank(),
    'too many rows': _tensor(dims=[1025], float_val=[0] * 1025),
}


@pytest.mark.parametrize('name', TENSORS)
def test_malformed_tensors(name, stubs):
    request = predict_request('half_plus_two')
    request.inputs['x'].CopyFrom(TENSORS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(grpc.RpcError) as error:
        stubs.predict(request)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB
    assert stubs.predict(predict_request('half_plus_two', x=np.float32([1])))['y'] == [2.5]


@pytest.mark.parametrize('value', [b'', b'a' * 4000], ids=len)
def test_string_repeated_too_often_is_refused(value, stubs):
    request = predict_request('charrnn')
    request.inputs['prefix'].CopyFrom(_tensor(dtype=types_pb2.DT_STRING, dims=[2**18], string_val=[value]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(grpc.RpcError, match='its values do not fill 262144 elements') as error:
        stubs.predict(request)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


@pytest.mark.parametrize('content', [b'', b'\x05abc', b'\xff' * 12, b'\0' * 3], ids=repr)
def test_malformed_string_contents(content, stubs):
    request = predict_request('charrnn')
    request.inputs['prefix'].CopyFrom(_tensor(dtype=types_pb2.DT_STRING, dims=[2], tensor_content=content))
    with pytest.raises(grpc.RpcError) as error:
        stubs.predict(request)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_invalid_message_is_refused(stubs):
    call = stubs.channel.unary_unary('/tensorflow.serving.PredictionService/Predict')
    with pytest.raises(grpc.RpcError) as error:
        call(b'\xff' * 100, timeout=PATIENCE)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert stubs.predict(predict_request('half_plus_two', x=np.float32([1])))['y'] == [2.5]


def test_long_message_is_shortened(stubs):
    with pytest.raises(grpc.RpcError) as error:
        stubs.predict(predict_request('half_plus_two', 'a' * 5000, x=np.float32([1])))
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert len(error.value.details()) == 1024 + len('...TRUNCATED')
    assert error.value.details().endswith('a...TRUNCATED')


def test_limits_on_bodies_and_rows(own_address):
    large = own_address.predict('half_plus_two', b'{"instances": [' + b'1,' * 2**21 + b'1]}')
    assert (large.status, '--max_body_bytes' in large.document['error']) == (413, True)
    assert own_address.predict('half_plus_two', {'instances': [1] * 1024}).status == 200
    rows = own_address.predict('half_plus_two', {'instances': [1] * 1025})
    assert (rows.status, '--max_rows of this server is 1024' in rows.document['error']) == (400, True)


def test_signature_name_in_any_script_is_shown(own_address):
    answer = own_address.predict('half_plus_two', {'signature_name': '分', 'instances': [1]})
    assert answer.document == {'error': 'Serving signature name: "分" not found in signature def'}


@pytest.mark.parametrize(
    'raw', [b'GET\r\n\r\n', b'\x16\x03\x01\x02\x00', b'POST /v1/models/half_plus_two:predict HTTP/1.1\r\nContent-']
)
def test_invalid_http_does_not_harm_the_server(raw, own_address):
    host, port = urllib.parse.urlsplit(own_address.rest).netloc.split(':')
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(raw)
    assert own_address.predict('half_plus_two', {'instances': [1]}).status == 200


def _raw(address, request: str) -> bytes:
    """The answer to a request as it is on the wire, up to the end of the connection."""
    url = urllib.parse.urlsplit(address.rest)
    with socket.create_connection((url.hostname, url.port), PATIENCE) as connection:
        connection.sendall(request.encode())
        return b''.join(iter(lambda: connection.recv(2**16), b''))


def test_request_with_two_lengths_is_refused_and_its_connection_closed(own_address):
    """A proxy in front may read the length that this server does not."""
    head = 'POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n'
    answer = _raw(own_address, head + 'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n')
    assert answer.startswith(b'HTTP/1.1 400')
    assert answer.endswith(b'{"error": "a request cannot have both Content-Length and Transfer-Encoding"}')
    assert answer.count(b'HTTP/1.1') == 1


def test_absolute_form_of_a_request_line_is_understood(own_address):
    request = f'GET {own_address.rest}/v1/models/half_plus_two HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    assert _raw(own_address, request).startswith(b'HTTP/1.1 200')


@pytest.mark.parametrize(
    ('method', 'path', 'status'),
    [
        ('GET', '/v2', 404),
        ('GET', '/v1%0A', 404),
        ('GET', '/a%0Ab', 404),
        ('GET', '/v1/models/a%0Ab', 404),
        ('POST', '/', 405),
        ('DELETE', '/monitoring/prometheus/metrics', 405),
        ('OPTIONS', '/v1/models/half_plus_two:predict', 400),
    ],
)
def test_every_error_is_json(own_address, method, path, status):
    answer = own_address.http(method, path)
    assert (answer.status, set(answer.document)) == (status, {'error'})


def test_body_timeout_is_a_client_error(serve, model_dirs):
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')], rest_api_timeout_in_ms=50)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address.rest).netloc, timeout=PATIENCE)
    connection.putrequest('POST', '/v1/models/m:predict')
    connection.putheader('Content-Length', '1000')
    connection.endheaders(b'{')
    response = connection.getresponse()
    assert (response.status, response.read()) == (408, b'{"error": "the body did not arrive within 0.05 s"}')
    connection.close()


def test_client_that_disconnects_while_sending(own_address):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(own_address.rest).netloc, timeout=PATIENCE)
    connection.putrequest('POST', '/v1/models/half_plus_two:predict')
    connection.putheader('Content-Length', '1000')
    connection.endheaders(b'{')
    connection.close()
    answer: Answer = own_address.predict('half_plus_two', {'instances': [1]})
    assert answer.document == {'predictions': [2.5]}
