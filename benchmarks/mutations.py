"""Malformed requests over both protocols; the seed determines them."""

import copy
import dataclasses
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from tensorflow_serving.apis import predict_pb2

from benchmarks.server_process import MODEL
from benchmarks.traffic import PATH, Call

MAX_BODY_BYTES = 2**20
"""The server's limit for the benchmark, small enough that some requests exceed it."""

WAIT, HALF_CLOSE, DISCONNECT = 'wait', 'half-close', 'disconnect'

_RAW = '@raw@'  # marks a string to write as JSON without quotes
_NUMBERS = ['1e400', '-1e400', 'NaN', '-Infinity', '-0', '-0.0', '1e39', '1E-400', '0x10', '01', '.5', '1.', '+1']
_NUMBERS += ['--1', *map(str, (2**31, 2**63, -(2**63) - 1, 2**64)), '9' * 400, '9' * 5000, '1' + '0' * 308 + '.0']
_TEXTS = ['', '\0', '囧', '\U0001f600', '\ud800', '\udc00\ud800', 'a' * 3000, '\ufeff', '\ufffd', '1', 'null', '\r\n']
_BASE64 = [{'b64': v} for v in ('', '*', '//79', '5Yag', 'YQ=', '====', 'A' * 5000, 1, None, [])] + [
    {'b64': '', 'x': 1}
]
_SHAPES = [[], {}, [[]], [[], [[]]], [{}], [1, [1]], [None], {'a': {'b': {}}}, [0] * 5000, [[0.5] * 300] * 3]
_VALUES = [None, True, False, 0, -1, 0.5, 10**6, *_TEXTS, *_BASE64, *_SHAPES, *(_RAW + n for n in _NUMBERS)]
_PIECES = [b'{', b'}', b'[', b']', b'"', b',', b':', b'\\', b'\\u', b'\\ud800', b'\xff', b'\xc0\x80', b'\xed\xa0\x80']
_PIECES += [b'\0', b'1e400', b'NaN', b'-', b'null', b'9' * 30, b'{"b64": "*"}', b'//', b'/*', b"'"]
_PIECES += [b'\xef\xbb\xbf', b'\x1f\x8b']
_KEYS = ['signature_name', 'inputs', 'instances', 'prefix', 'seed', '', 'b64', '\0', 'x' * 500, 'Inputs']
_BODIES = [
    b'',
    b'null',
    b'[]',
    b'""',
    b'\xff\xfe',
    '{"inputs": ["分"]}'.encode('utf-16'),
    b'[' * 10_000,
    b'{"inputs": ' + b'[' * 10_000 + b']' * 10_000 + b'}',
    b'{"inputs": ' * 10_000 + b'1' + b'}' * 10_000,
    b'{"inputs": [{"b64": ' * 10_000,
    b'{"inputs": "' + b'a' * 500_000 + b'"}',
    b'{"inputs": [' + b'"a",' * 2000 + b'"a"]}',
    b'{"inputs": [' + b'1,' * 100_000 + b'1]}',
    b'{"inputs": ["a"], "inputs": 3, "inputs": null}',
    b'{"inputs": ["a"]}' + b' ' * MAX_BODY_BYTES,
    b'\xff' * (MAX_BODY_BYTES + 1),
]
_METHODS = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'CONNECT', 'post', 'BREW', 'P\x7fST', '']
_PATHS = ['/', '*', '', '/v1', '/v1/', '/v1/models', f'/{PATH}', f'{PATH}?a=%00', f'{PATH}#', f'{PATH}/', f'{PATH} ']
_PATHS += [
    f'/v1/models/{name}:predict' for name in ('..', '%2e%2e', '%', '%zz', '%ff', '%00', '%E5%88', '分', 'x' * 9000)
]
_PATHS += [f'/v1/models/{MODEL}/versions/{n}:predict' for n in ('0', '-1', '1' * 30, '9' * 19, '1' * 5000, '1.0', '１')]
_PATHS += [
    f'/v1/models/{MODEL}{rest}' for rest in ('/labels/%ff:predict', '/metadata/x', ':classify', ':regress', ':x')
]
_PATHS += ['/static/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/favicon.ico', '/monitoring/prometheus/metrics']
_HEADERS = [
    'Content-Length: -1',
    'Content-Length: a',
    'Content-Length: 5\r\nContent-Length: 6',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nContent-Length: 3',
    'Transfer-Encoding: gzip',
    'Content-Encoding: gzip\r\nContent-Length: {}',
    'Content-Type: text/\xff\xfe\r\nContent-Length: {}',
    'Expect: 100-continue\r\nContent-Length: {}',
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nContent-Length: {}',
    'Upgrade: h2c\r\nHTTP2-Settings: *\r\nContent-Length: {}',
    'X: ' + 'a' * 100_000 + '\r\nContent-Length: {}',
    '\r\n'.join(f'X{n}: 1' for n in range(2000)) + '\r\nContent-Length: {}',
    'no colon\r\nContent-Length: {}',
    ': no name\r\nContent-Length: {}',
    'Host: localhost\r\nHost: b\r\nContent-Length: {}',
]
_NOT_HTTP = [
    b'\r\n\r\n',
    b'GET\r\n\r\n',
    b'\x16\x03\x01\x02\x00\x01\x00',
    b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    b'GET / HTTP/9.9\r\n\r\n',
    b'GET /\r\n\r\n',
    b'\0' * 100,
    b'\xff' * 70_000,
]


@dataclasses.dataclass(frozen=True)
class HttpRequest:
    """Bytes to send on a new connection.

    Attributes:
      mutation: what was changed.
      content: the bytes.
      method: HTTP method, which determines whether the answer has a body.
      ending: what the client does after the bytes: `WAIT` for an answer, `HALF_CLOSE` and wait, or `DISCONNECT`.
    """

    mutation: str
    content: bytes
    method: str = 'POST'
    ending: str = WAIT


@dataclasses.dataclass(frozen=True)
class GrpcRequest:
    """Bytes to send to a method; `timeout` in seconds."""

    mutation: str
    method: str
    content: bytes
    timeout: float = 60.0


class HttpMutations:
    """Malformed REST requests, made from the bodies of valid ones."""

    def __init__(self, calls: Sequence[Call], seed: int):
        self._chance = random.Random(seed)
        self._valid = [call.payload for call in calls]
        self._mutations: list[Callable[[], HttpRequest]] = [self._value] * 6 + [self._key] * 2 + [self._bytes] * 4
        self._mutations += [self._stream, self._stream, self._body, self._body, self._method, self._path, self._path]
        self._mutations += [self._header, self._chunks, self._incomplete, self._not_http]

    def draw(self) -> HttpRequest:
        return self._chance.choice(self._mutations)()

    def _document(self) -> dict:
        return json.loads(self._chance.choice(self._valid))

    def _value(self) -> HttpRequest:
        """Replaces one or two values in the document."""
        document = self._document()
        for _ in range(self._chance.choice([1, 1, 2])):
            holder, key = self._position(document)
            holder[key] = copy.deepcopy(self._chance.choice(_VALUES))
        return HttpRequest('a value', _post(_json(document)))

    def _key(self) -> HttpRequest:
        """Removes, renames or repeats a key."""
        document = self._document()
        holder = document if self._chance.random() < 0.5 else document['inputs']
        key = self._chance.choice(list(holder)) if isinstance(holder, dict) else 0
        value = holder.pop(key)
        change = self._chance.choice(['removed', 'renamed', 'repeated'])
        if change == 'renamed' and isinstance(holder, dict):
            holder[self._chance.choice(_KEYS)] = value
        body = _json(document)
        if change == 'repeated':
            member = json.dumps(key) + ': ' + json.dumps(value) + ', '
            body = body.replace(b'{', b'{' + member.encode() * 2, 1)
        return HttpRequest('a key', _post(body))

    def _bytes(self) -> HttpRequest:
        return HttpRequest(
            'bytes of the body', _post(_garbled(self._chance, self._chance.choice(self._valid), _PIECES))
        )

    def _body(self) -> HttpRequest:
        return HttpRequest('another body', _post(self._chance.choice(_BODIES), self._chance.choice([PATH, _STREAM])))

    def _stream(self) -> HttpRequest:
        document = {'prefix': self._document()['inputs'], 'length': 3, 'temperature': 1.0, 'seed': 1}
        if isinstance(document['prefix'], list):
            document['prefix'] = document['prefix'][0]
        document[self._chance.choice([*document, *_KEYS])] = copy.deepcopy(self._chance.choice(_VALUES))
        return HttpRequest('a value of a stream', _post(_json(document), _STREAM))

    def _method(self) -> HttpRequest:
        method = self._chance.choice(_METHODS)
        body = self._chance.choice(self._valid)
        path = self._chance.choice([PATH, PATH, '/v1/models/charrnn', *_PATHS[:6]])
        head = f'{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n'
        return HttpRequest('a method', head.encode('latin-1') + body, method)

    def _path(self) -> HttpRequest:
        path, body = self._chance.choice(_PATHS), self._chance.choice(self._valid)
        if self._chance.random() < 0.5:
            return HttpRequest('a path', f'GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode(), 'GET')
        return HttpRequest('a path', _post(body, path))

    def _header(self) -> HttpRequest:
        body = self._chance.choice(self._valid)
        header = self._chance.choice(_HEADERS).format(len(body))
        head = f'POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n'
        ending = HALF_CLOSE if header.startswith('Transfer-Encoding') else WAIT
        return HttpRequest('a header', head.encode('latin-1') + body, ending=ending)

    def _chunks(self) -> HttpRequest:
        """Sends a body in chunks, some with wrong sizes."""
        body = self._chance.choice(self._valid)
        parts = [body[at : at + 97] for at in range(0, len(body), 97)]
        wrong_size = self._chance.choice([0, 0, 1, -1, 10**6])
        chunks = b''.join(b'%x\r\n%b\r\n' % (max(len(part) + wrong_size, 1), part) for part in parts)
        head = f'POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n'
        return HttpRequest('chunks', head.encode() + chunks + b'0\r\n\r\n', ending=HALF_CLOSE if wrong_size else WAIT)

    def _incomplete(self) -> HttpRequest:
        """Truncates the request, or announces a wrong length."""
        body = self._chance.choice(self._valid)
        announced = self._chance.choice([len(body) + 9, 10**20, 1, 3])
        content = f'POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {announced}\r\n\r\n'.encode() + body
        if self._chance.random() < 0.7:
            content = content[: self._chance.randrange(len(content))]
        return HttpRequest('incomplete', content, ending=self._chance.choice([HALF_CLOSE, DISCONNECT]))

    def _not_http(self) -> HttpRequest:
        return HttpRequest('not HTTP', self._chance.choice(_NOT_HTTP), ending=HALF_CLOSE)

    def _position(self, holder: Any) -> tuple[Any, Any]:
        """Returns a random position in a document: a list or an object, and an index or a key of it."""
        while True:
            key = self._chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if not isinstance(holder[key], (dict, list)) or not holder[key] or self._chance.random() < 0.3:
                return holder, key
            holder = holder[key]


_STREAM = PATH.replace(':predict', ':generate_stream')


def _post(body: bytes, path: str = PATH) -> bytes:
    return f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n'.encode() + body


def _json(document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=True)
    return re.sub(f'"{_RAW}([^"]*)"', r'\1', text).encode()


def _garbled(chance: random.Random, content: bytes, pieces: Sequence[bytes]) -> bytes:
    """Replaces, deletes or repeats bytes at up to four positions."""
    garbled = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        begin = chance.randrange(len(garbled) + 1)
        end = min(begin + chance.choice([0, 1, 1, 4, 50]), len(garbled))
        garbled[begin:end] = chance.choice([chance.choice(pieces), b'', bytes(garbled[begin:end]) * 2])
    return bytes(garbled[: chance.randrange(len(garbled) + 1)] if chance.random() < 0.1 else garbled)


_SERVICE = '/tensorflow.serving.PredictionService/'
_METHODS_OF_GRPC = [f'{_SERVICE}{name}' for name in ('GetModelMetadata', 'Classify', 'Regress', 'MultiInference', 'X')]
_METHODS_OF_GRPC += [f'/tensorflow.serving.ModelService/{n}' for n in ('GetModelStatus', 'HandleReloadConfigRequest')]
_METHODS_OF_GRPC += ['/grpc.health.v1.Health/Check', '/x', '/tensorflow.serving.PredictionService']
_DIMS = [-1, -(2**63), 0, 1, 2, 3, 255, 1025, 2**31, 2**32, 2**40, 2**62, 2**63 - 1]
_ENUMS = [*range(-1, 31), 100, 101, 109, 123, 999, 2**31 - 1]
_FLOATS = [float('nan'), float('inf'), -0.0, -1.0, 2.0, 1e-45, 3.4e38]
_INTEGERS = [-1, 0, 1, 1001, 2**31 - 1, -(2**31)]
_STRINGS = [b'', b'\xff\xfe', b'\xed\xa0\x80', b'\0', '囧'.encode(), b'a' * 100_000, b'\xe5\x88']
_WIRE = [b'\0', b'\xff', b'\xff' * 11, b'\x0a\xff\xff\xff\xff\x0f', b'\x08', b'\x80' * 9 + b'\x01', b'\x0b\x0c']


class GrpcMutations:
    """Malformed gRPC requests, made from valid ones."""

    def __init__(self, calls: Sequence[Call], seed: int):
        self._chance = random.Random(seed)
        self._valid = [call.payload for call in calls]
        self._mutations: list[tuple[str, Callable[[predict_pb2.PredictRequest], None]]] = [
            ('a type', self._type),
            ('a dimension', self._dimension),
            ('dimensions', self._dimensions),
            ('values', self._values),
            ('tensor content', self._content),
            ('inputs', self._inputs),
            ('a specification', self._specification),
            ('an output filter', self._filter),
            ('unused fields', self._unused_fields),
        ]

    def draw(self) -> GrpcRequest:
        content = self._chance.choice(self._valid)
        kind = self._chance.random()
        if kind < 0.1:
            return GrpcRequest('bytes of the message', f'{_SERVICE}Predict', _garbled(self._chance, content, _WIRE))
        if kind < 0.15:
            return GrpcRequest('another method', self._chance.choice(_METHODS_OF_GRPC), content)
        if kind < 0.17:
            return GrpcRequest('a deadline', f'{_SERVICE}Predict', content, 0.001)
        if kind < 0.18:
            return GrpcRequest('too large', f'{_SERVICE}Predict', content + b'\x1a\x01a' * MAX_BODY_BYTES)
        request = predict_pb2.PredictRequest.FromString(content)
        mutations = self._chance.choices(self._mutations, k=self._chance.choice([1, 1, 2]))
        for _, change in mutations:
            change(request)
        mutation = mutations[0][0] if len(mutations) == 1 else 'two of these'
        return GrpcRequest(mutation, f'{_SERVICE}Predict', request.SerializeToString())

    def _tensor(self, request: predict_pb2.PredictRequest) -> Any:
        names = sorted(request.inputs)
        return request.inputs[self._chance.choice(names) if names else 'prefix']

    def _type(self, request: predict_pb2.PredictRequest) -> None:
        self._tensor(request).dtype = self._chance.choice(_ENUMS)

    def _dimension(self, request: predict_pb2.PredictRequest) -> None:
        shape = self._tensor(request).tensor_shape
        dim = self._chance.choice(shape.dim) if shape.dim else shape.dim.add()
        dim.size = self._chance.choice(_DIMS)

    def _dimensions(self, request: predict_pb2.PredictRequest) -> None:
        shape = self._tensor(request).tensor_shape
        del shape.dim[self._chance.randint(0, 1) :]
        for _ in range(self._chance.choice([0, 1, 2, 2, 3, 8, 254, 255, 300])):
            shape.dim.add(size=self._chance.choice(_DIMS))
        shape.unknown_rank = self._chance.random() < 0.1

    def _values(self, request: predict_pb2.PredictRequest) -> None:
        """Changes values within their type, and their number."""
        tensor = self._tensor(request)
        for field, values in {
            'string_val': _STRINGS, 'float_val': _FLOATS, 'int_val': _INTEGERS, 'int64_val': _INTEGERS
        }.items():  # fmt: skip
            held = getattr(tensor, field)
            if held:
                held[self._chance.randrange(len(held))] = self._chance.choice(values)
                held.extend(self._chance.choices(values, k=self._chance.choice([0, 0, 1, 300])))
                del held[self._chance.choice([0, 1, len(held), len(held)]) :]

    def _content(self, request: predict_pb2.PredictRequest) -> None:
        self._tensor(request).tensor_content = self._chance.randbytes(self._chance.choice([0, 1, 4, 7, 8, 1024, 10**5]))

    def _inputs(self, request: predict_pb2.PredictRequest) -> None:
        """Removes, renames or copies an input."""
        names = sorted(request.inputs)
        if not names:
            return
        name = self._chance.choice(names)
        tensor = copy.deepcopy(request.inputs[name])
        if self._chance.random() < 0.7:
            del request.inputs[name]
        for other in self._chance.choices(
            ['', 'x', 'prefix', 'ids', '\0', 'a' * 5000], k=self._chance.choice([0, 1, 3])
        ):
            request.inputs[other].CopyFrom(tensor)

    def _specification(self, request: predict_pb2.PredictRequest) -> None:
        spec, choice = request.model_spec, self._chance.choice
        match choice(['name', 'signature', 'version', 'label']):
            case 'name':
                spec.name = choice(['', 'x', '分', '\0', 'a' * 100_000])
            case 'signature':
                spec.signature_name = choice(['x', '分', 'score', 'step', '__saved_model_init_op', '\n', 'a' * 100_000])
            case 'version':
                spec.version.value = choice([-1, 0, 1, 2, 2**63 - 1, -(2**63)])
            case 'label':
                spec.version_label = choice(['', 'stable', '\0', 'a' * 5000])

    def _filter(self, request: predict_pb2.PredictRequest) -> None:
        request.output_filter.extend(self._chance.choices(['', 'text', 'x', 'logits', 'a' * 5000, '\n'], k=2))

    def _unused_fields(self, request: predict_pb2.PredictRequest) -> None:
        """Sets fields of a tensor that no input uses."""
        tensor = self._tensor(request)
        tensor.version_number = self._chance.choice([-1, 1, 2**31 - 1])
        tensor.half_val.append(1)
        tensor.resource_handle_val.add(name='x', device='/gpu:9')
        tensor.variant_val.add(type_name='x', metadata=b'\xff')
