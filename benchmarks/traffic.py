"""Requests of every kind over both protocols, their answers, and the difference of two answers."""

import dataclasses
import http.client
import json
import random
import select
import socket
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from benchmarks.server_process import MODEL

REST, GRPC = 'REST', 'gRPC'
BAD = 'bad row'
KINDS = ('serving_default', 'sample', 'generate', 'score', 'step', BAD)
METHOD = '/tensorflow.serving.PredictionService/Predict'
PATH = f'/v1/models/{MODEL}:predict'
WITHOUT_PROXY = ('grpc.enable_http_proxy', 0)  # option of a channel
TOLERANCE = 1e-5  # of floats, relative if above 1

_LARGEST_LENGTH = 60  # characters to generate
_TIMEOUT = 60  # seconds for an answer
_CALLS_PER_KIND = 24
_REFUSALS = ('failed to connect', 'shutting down')
_OUTSIDE_VOCABULARY = '\U0001f600'


@dataclasses.dataclass(frozen=True)
class Call:
    """An encoded request; `kind` is its signature or `BAD`."""

    kind: str
    protocol: str
    payload: bytes


@dataclasses.dataclass(frozen=True)
class Answer:
    """'200' or 'OK' and the outputs, or another code and a message."""

    code: str
    content: Mapping[str, Any] | str
    version: int | None = None
    """Version of the model; None over REST, which does not report it."""


class RefusedError(Exception):
    """The server did not accept the request: it refused the connection, or reported that it is shutting down."""


class Client:
    """One connection per protocol, for one thread."""

    def __init__(self, rest: str, grpc_address: str):
        """Both addresses are host:port."""
        self._http = http.client.HTTPConnection(rest, timeout=_TIMEOUT)
        self._channel = grpc.insecure_channel(grpc_address, [('grpc.use_local_subchannel_pool', 1), WITHOUT_PROXY])
        self._predict = self._channel.unary_unary(METHOD, None, predict_pb2.PredictResponse.FromString)

    def ask(self, call: Call) -> Answer:
        """Sends a call and returns its answer. Raises `RefusedError`, or the exception of a failed connection."""
        return self._ask_rest(call.payload) if call.protocol == REST else self._ask_grpc(call.payload)

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def _ask_rest(self, body: bytes) -> Answer:
        if self._http.sock is not None and _closed_by_server(self._http.sock):
            self._http.close()
        if self._http.sock is None:
            try:
                self._http.connect()
                self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except (ConnectionRefusedError, TimeoutError) as error:
                raise RefusedError from error
        self._http.request('POST', PATH, body)
        response = self._http.getresponse()
        document = json.loads(response.read())
        content = document['error'] if set(document) == {'error'} else document['outputs']
        return Answer(str(response.status), content)

    def _ask_grpc(self, body: bytes) -> Answer:
        try:
            response = self._predict(body, _TIMEOUT)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and any(r in error.details() for r in _REFUSALS):
                raise RefusedError from error
            return Answer(error.code().name, error.details())
        outputs = {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}
        return Answer('OK', outputs, response.model_spec.version.value)


def _closed_by_server(connection: socket.socket) -> bool:
    """Returns whether the server has closed an idle connection; a client must check before it reuses one."""
    return bool(select.select([connection], [], [], 0)[0])


def difference(found: Answer, expected: Answer) -> float:
    """Returns the largest difference of two floats of the answers, relative if above 1.

    The result is infinity if codes, messages, names, shapes, texts or integers differ.
    """
    if found.code != expected.code or type(found.content) is not type(expected.content):
        return float('inf')
    if not isinstance(found.content, dict):
        return _value_difference(found.content, expected.content)
    if found.content.keys() != expected.content.keys():
        return float('inf')
    return max(_value_difference(found.content[name], expected.content[name]) for name in expected.content)


def _value_difference(found: Any, expected: Any) -> float:
    if found is expected or (isinstance(found, (str, list)) and found == expected):
        return 0.0
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape or found.dtype.kind != expected.dtype.kind:
        return float('inf')
    if found.dtype.kind != 'f':
        return 0.0 if np.array_equal(found, expected) else float('inf')
    distance = np.abs(found.astype(float) - expected) / np.maximum(np.abs(expected), 1)
    return float('inf') if np.isnan(distance).any() else float(distance.max(initial=0.0))


class Requests:
    """Random calls of all kinds for a model; the seed determines them."""

    def __init__(self, description: Mapping[str, Any], seed: int = 0):
        """`description` is the content of the model's charrnn.json."""
        self._chance = random.Random(seed)
        self._characters = description['vocabulary']
        self._states = description['state']
        self._max_length = description['limits']['max_length']
        # Models with an unknown character accept all characters.
        self._invalid_texts = ['', *([_OUTSIDE_VOCABULARY] if description['unknown_id'] is None else [])]

    def calls(self) -> list[Call]:
        """Returns valid calls of each signature and invalid calls, in both protocols."""
        draw = (self._default, self._sample, self._generate, self._score, self._step, self._bad)
        kinds = dict(zip(KINDS, draw, strict=True))
        drawn = [(kind, protocol) for kind in KINDS for protocol in (REST, GRPC) for _ in range(_CALLS_PER_KIND)]
        return [_call(kind, protocol, *kinds[kind]()) for kind, protocol in drawn]

    def _rows(self) -> int:
        return self._chance.choice([1, 1, 1, 2, 4])

    def _text(self, most: int) -> str:
        return ''.join(self._chance.choices(self._characters, k=self._chance.randint(1, most)))

    def _default(self) -> tuple[str, dict]:
        return 'serving_default', {'prefix': [self._text(8) for _ in range(self._rows())]}

    def _generate(self) -> tuple[str, dict]:
        rows = [self._knobs() for _ in range(self._rows())]
        return 'generate', {name: [row[name] for row in rows] for name in rows[0]}

    def _knobs(self) -> dict[str, Any]:
        choice = self._chance.choice
        return {
            'prefix': self._text(8),
            'length': self._chance.randint(1, _LARGEST_LENGTH),
            'temperature': choice([0.0, 0.5, 1.0, 1.5]),
            'top_k': choice([0, 0, 1, 5, 40]),
            'top_p': choice([1.0, 1.0, 0.9, 0.5]),
            'stop': choice(['', '', self._text(1), self._text(2)]),
            'seed': self._chance.randint(-(2**63), 2**63 - 1),
        }

    def _sample(self) -> tuple[str, dict]:
        rows = range(self._rows())
        return 'sample', {'prefix': [self._text(8) for _ in rows], 'seed': [self._chance.randrange(99) for _ in rows]}

    def _score(self) -> tuple[str, dict]:
        return 'score', {'text': [self._text(60) + self._text(1) for _ in range(self._rows())]}

    def _step(self) -> tuple[str, dict]:
        rows = self._rows()
        state = {name: [self._state() for _ in range(rows)] for name in self._states['names']}
        return 'step', {'ids': [self._chance.randrange(len(self._characters)) for _ in range(rows)]} | state

    def _state(self) -> list[float]:
        return [round(self._chance.uniform(-1, 1), 3) for _ in range(self._states['size'])]

    def _bad(self) -> tuple[str, dict]:
        """Draws a request in which one row is invalid."""
        signature, inputs = self._chance.choice([self._default, self._generate, self._generate, self._score])()
        broken = {
            'prefix': self._invalid_texts,
            'text': self._invalid_texts,
            'length': [-1, self._max_length + 1],
            'temperature': [-1.0],
            'top_k': [-1],
            'top_p': [2.0, 0.0],
            'stop': [_OUTSIDE_VOCABULARY],
        }
        name = self._chance.choice([name for name in inputs if name in broken])
        row = self._chance.randrange(len(inputs[name]))
        inputs[name][row] = self._chance.choice(broken[name])
        return signature, inputs


def _call(kind: str, protocol: str, signature: str, inputs: dict[str, list]) -> Call:
    return Call(kind, protocol, _body(signature, inputs) if protocol == REST else request(signature, inputs))


def _body(signature: str, inputs: dict[str, list]) -> bytes:
    return json.dumps({'signature_name': signature, 'inputs': inputs}, ensure_ascii=False).encode()


_DTYPES = {
    'prefix': tf.string,
    'text': tf.string,
    'stop': tf.string,
    'length': tf.int32,
    'top_k': tf.int32,
    'ids': tf.int32,
    'seed': tf.int64,
}


def request(signature: str, inputs: dict[str, list]) -> bytes:
    """Returns an encoded PredictRequest."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = MODEL
    message.model_spec.signature_name = signature
    for name, values in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(values, _DTYPES.get(name, tf.float32)))
    return message.SerializeToString()
