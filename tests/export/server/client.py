"""Clients for the tests: the standard library over HTTP, TensorFlow Serving's own stubs over gRPC."""

import contextlib
import dataclasses
import http.client
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import tensorflow as tf
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

PATIENCE = 60  # seconds


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP response; `document` is its JSON, None where it is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server listens: `rest` is http://host:port, `grpc` host:port."""

    rest: str
    grpc: str

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; `body` is sent as it is if bytes, else as JSON.

        `content_encoding='gzip'` is the header Content-Encoding.
        """
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.rest).netloc, timeout=PATIENCE)
        try:
            connection.request(method, path, content, {name.replace('_', '-'): text for name, text in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def predict(self, model: str, body: Any) -> Answer:
        return self.http('POST', f'/v1/models/{model}:predict', body)


class Stubs:
    """The official stubs on one channel."""

    def __init__(self, address: str):
        self.channel = grpc.insecure_channel(address, [('grpc.max_receive_message_length', -1)])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, request: predict_pb2.PredictRequest, timeout: float = PATIENCE) -> dict[str, Any]:
        """The outputs as arrays. Raises `grpc.RpcError`."""
        response = self.prediction.Predict(request, timeout)
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


@contextlib.contextmanager
def open_reflection(address: Address) -> Iterator[grpc.Call]:
    """A stream of gRPC's reflection that has been answered once and stays open. Raises `grpc.RpcError`."""
    done = threading.Event()

    def requests():
        yield reflection_pb2.ServerReflectionRequest(list_services='')
        done.wait()

    with grpc.insecure_channel(address.grpc) as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(requests(), timeout=PATIENCE)
        try:
            next(stream)
            yield stream
        finally:
            done.set()


def predict_request(model: str, signature: str = '', **inputs: Any) -> predict_pb2.PredictRequest:
    """Of arrays, tensors or lists by input."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request
