"""TensorFlow Serving's gRPC services, the standard health service and reflection."""

import concurrent.futures
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)

from data.errors import InputError
from export.server import drain, ports
from export.server.errors import ServingError
from export.server.metrics import Metrics
from export.server.predictor import Predictor
from export.server.rpc import reflection

_LONGEST_MESSAGE = 1024  # characters; the message is sent in a header
_QUIET = 0.1  # seconds without a new call after which the server stops
_SPARE_THREADS = 16  # for health, states and metadata while all other threads predict
_SERVED = (
    prediction_service_pb2.DESCRIPTOR.services_by_name['PredictionService'].full_name,
    model_service_pb2.DESCRIPTOR.services_by_name['ModelService'].full_name,
)

Answer = TypeVar('Answer', bound=Message)


class _Calls:
    """The common part of all calls: maps errors to codes and records requests in the metrics."""

    def __init__(self, predictor: Predictor, metrics: Metrics):
        self._predictor = predictor
        self._metrics = metrics
        self._refusing = False
        self._newest = 0.0
        self._open = 0
        self._open_changed = threading.Condition()

    def refuse(self) -> None:
        """Refuses calls from now on; returns when no call has come for a moment, or after `drain.LINGER`.

        gRPC would cancel the calls that it has read and no thread has taken up.
        """
        self._refusing = True
        begun = time.monotonic()
        while time.monotonic() < min(max(self._newest, begun) + _QUIET, begun + drain.LINGER):
            time.sleep(drain.POLL)

    def wait(self, seconds: float) -> int:
        """Waits up to `seconds` until each call is answered or its client has left; returns the number still open."""
        with self._open_changed:
            self._open_changed.wait_for(lambda: not self._open, seconds)
            return self._open

    def answer(
        self, request: Message, context: grpc.ServicerContext, method: str, work: Callable[[], Answer]
    ) -> Answer:
        """Returns `work()`; if that raises, ends the call with the code of the error."""
        began, code, message = time.monotonic(), grpc.StatusCode.OK, ''
        self._newest = began
        self._count(1)
        if not context.add_callback(
            lambda: self._count(-1)
        ):  # runs when the answer is sent; False: the client has left
            self._count(-1)
        try:
            if self._refusing:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE, 'the server is shutting down: send the request to another server.'
                )
            return work()
        except ServingError as error:
            code, message = error.code, error.message
        except Exception as error:  # the client gets an answer, the log a traceback
            traceback.print_exc(file=sys.stderr)
            code, message = grpc.StatusCode.INTERNAL, f'internal error: {type(error).__name__}'
        finally:
            self._metrics.record(request.model_spec.name, method, 'GRPC', code, time.monotonic() - began)
        return context.abort(code, _shortened(message))  # raises

    def predict(self, request: Message, context: grpc.ServicerContext) -> Message:
        """Predicts on a thread of the predictor until the deadline of the call."""
        future = self._predictor.submit(lambda: self._predictor.predict(request))
        try:  # without a deadline more seconds remain than Python can wait
            return future.result(min(context.time_remaining(), threading.TIMEOUT_MAX))
        except concurrent.futures.TimeoutError:
            raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, 'the deadline of the call has passed') from None

    def _count(self, change: int) -> None:
        with self._open_changed:
            self._open += change
            self._open_changed.notify_all()


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, calls: _Calls, predictor: Predictor):
        self._calls = calls
        self._predictor = predictor

    def Predict(self, request, context):  # noqa: N802 - the method's name in the protocol
        return self._calls.answer(request, context, 'Predict', lambda: self._calls.predict(request, context))

    def GetModelMetadata(self, request, context):  # noqa: N802
        return self._calls.answer(request, context, 'GetModelMetadata', lambda: self._predictor.metadata(request))

    def Classify(self, request, context):  # noqa: N802
        _refuse(context, 'Classify', 'Predict')

    def Regress(self, request, context):  # noqa: N802
        _refuse(context, 'Regress', 'Predict')

    def MultiInference(self, request, context):  # noqa: N802
        _refuse(context, 'MultiInference', 'Predict')


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, calls: _Calls, predictor: Predictor):
        self._calls = calls
        self._predictor = predictor

    def GetModelStatus(self, request, context):  # noqa: N802
        return self._calls.answer(request, context, 'GetModelStatus', lambda: self._predictor.status(request))

    def HandleReloadConfigRequest(self, request, context):  # noqa: N802
        _refuse(context, 'HandleReloadConfigRequest', '--model_config_file and start again')


class _Malformed(grpc.ServerInterceptor):
    """Reports a malformed message as the error of the client; gRPC would report INTERNAL and print a traceback."""

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler

        def answer(content: bytes, context: grpc.ServicerContext) -> Message:
            try:
                request = handler.request_deserializer(content)
            except DecodeError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, _shortened(f'the request cannot be read: {error}'))
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, None, handler.response_serializer)


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f'{message[:_LONGEST_MESSAGE]}...TRUNCATED'


def _refuse(context: grpc.ServicerContext, method: str, instead: str) -> None:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f'{method} is not supported: use {instead}.')


class GrpcServer:
    """Listens from its construction, answers from `start` on."""

    def __init__(
        self,
        predictor: Predictor,
        metrics: Metrics,
        host: str,
        port: int,
        *,
        max_concurrent_requests: int,
        max_body_bytes: int,
    ):
        """Raises `InputError` if the address is taken. Port 0: the system chooses."""
        threads = max_concurrent_requests + _SPARE_THREADS
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(threads, 'grpc'),
            interceptors=[_Malformed()],
            maximum_concurrent_rpcs=2 * threads,
            options=[
                ('grpc.so_reuseport', 0),  # a second server on the port must fail
                ('grpc.max_receive_message_length', max_body_bytes),
                ('grpc.max_send_message_length', -1),
            ],
        )
        self._health = health.HealthServicer()
        self._calls = _Calls(predictor, metrics)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(self._calls, predictor), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(self._calls, predictor), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.add(self._server, (*_SERVED, health.SERVICE_NAME))
        self.port = _bind(self._server, host, port)

    def start(self) -> None:
        self._server.start()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace: float) -> int:
        """Refuses new calls and waits up to `grace` seconds for the others; returns the number of calls cut off.

        Streams of health and reflection do not count: their clients keep them open by design.
        """
        time.sleep(drain.ACCEPTING)
        self._calls.refuse()
        self._server.stop(grace + drain.LINGER)  # longer than `wait`: calls that it cancels look ended
        cut_off = self._calls.wait(grace)
        self._server.stop(0).wait()
        return cut_off

    def not_serving(self) -> None:
        """Reports NOT_SERVING to health checks."""
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    def _set_health(self, state: int) -> None:
        for service in ('', *_SERVED):
            self._health.set(service, state)


def _bind(server: grpc.Server, host: str, port: int) -> int:
    address = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        ports.check_free(host, port, 'port')  # raises an error with the reason, which gRPC does not give
        raise InputError(f'port={port} is not available at {host} ({error}): use another, or 0 for any.') from error
