"""TensorFlow Serving's REST API and metrics, with two additions: streams of characters and a page."""

import asyncio
import dataclasses
import sys
import time
import traceback

import grpc
from google.protobuf import json_format as protobuf_json
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from export.server import errors
from export.server.errors import BodyTimeoutError, ServingError
from export.server.metrics import CONTENT_TYPE, Metrics
from export.server.models.servable import DEFAULT_SIGNATURE
from export.server.predictor import Predictor
from export.server.rest import bodies, json_format, paths, streams, studio
from export.server.rest.paths import Target

_RETRY_AFTER = '1'  # seconds


@dataclasses.dataclass(frozen=True)
class RestLimits:
    """Limits on a REST request: bytes of its body, and seconds from its first byte to its answer."""

    max_body_bytes: int
    timeout: float


class RestApi:
    """The ASGI application for all paths under /v1."""

    def __init__(self, predictor: Predictor, metrics: Metrics, limits: RestLimits, max_reading: int):
        """Reads at most `max_reading` bodies at a time."""
        self._predictor = predictor
        self._metrics = metrics
        self._limits = limits
        self._reading = asyncio.Semaphore(max_reading)
        self.draining = False
        self.cut_off = 0  # requests cancelled at the end of the drain

    def application(self, *, metrics_path: str | None, cors: bool) -> Starlette:
        """Returns this application together with the metrics and the studio; `cors`: for pages of all origins."""
        metrics = [Route(metrics_path, self._exposition)] if metrics_path else []
        pages = Middleware(CORSMiddleware, allow_origins=['*'], allow_methods=['GET', 'POST'], allow_headers=['*'])
        application = Starlette(
            routes=[*metrics, *studio.routes(self._predictor.manager)],
            middleware=[pages] if cors else [],
            exception_handlers={HTTPException: _wrong_method},
        )
        application.router.redirect_slashes = False
        application.router.default = self
        return application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
            if self.draining or _has_two_lengths(request):
                response.headers['connection'] = 'close'
            await response(scope, receive, send)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # as in _answer
            self.cut_off += 1

    async def _exposition(self, _: Request) -> Response:
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)

    async def _answer(self, request: Request) -> Response:
        """Returns a response in every case, and records the request in the metrics."""
        path = paths.without_authority(request.scope['raw_path'].decode('ascii', 'replace'))
        if not path.lower().startswith('/v1/'):
            return _error(ServingError(grpc.StatusCode.NOT_FOUND, f'Not found: {path}'))
        began, model, verb, code = time.monotonic(), '', '', grpc.StatusCode.OK
        try:
            if _has_two_lengths(request):
                raise errors.invalid('a request cannot have both Content-Length and Transfer-Encoding')
            target = paths.parse(request.method, path)
            model, verb = target.spec.name, target.verb
            return await self._dispatch(request, target)
        except ServingError as error:
            code = error.code
            return _error(error)
        except ClientDisconnect:
            code = grpc.StatusCode.CANCELLED
            raise
        except asyncio.CancelledError:  # by uvicorn, at the end of the drain
            self.cut_off += 1
            code = errors.CUT_OFF.code
            return _error(errors.CUT_OFF)
        except Exception as error:  # the client gets an answer, the log a traceback
            traceback.print_exc(file=sys.stderr)
            code = grpc.StatusCode.INTERNAL
            return _error(ServingError(code, f'internal error: {type(error).__name__}'))
        finally:
            self._metrics.record(model, verb, 'REST', code, time.monotonic() - began)

    async def _dispatch(self, request: Request, target: Target) -> Response:
        if target.verb == 'status':
            status = get_model_status_pb2.GetModelStatusRequest(model_spec=target.spec)
            return _json(_message(self._predictor.status(status)))
        if target.verb == 'metadata':
            return _json(_metadata(self._predictor, target))
        if target.verb in ('classify', 'regress'):
            raise ServingError(
                grpc.StatusCode.UNIMPLEMENTED,
                f':{target.verb} is not supported, because it takes tf.Examples: use :predict',
            )
        deadline = asyncio.get_running_loop().time() + self._limits.timeout
        body = await self._body(request, deadline)
        if target.verb == 'generate_stream':
            return await streams.start(self._predictor, target, body)
        return await self._predict(target, body, deadline)

    async def _body(self, request: Request, deadline: float) -> bytes:
        if self._reading.locked():
            raise ServingError(grpc.StatusCode.UNAVAILABLE, 'too many requests are being read: try again later.')
        try:
            async with self._reading, asyncio.timeout_at(deadline):
                return await bodies.read(request, self._limits.max_body_bytes)
        except TimeoutError:
            raise BodyTimeoutError(f'the body did not arrive within {self._limits.timeout:g} s') from None

    async def _predict(self, target: Target, body: bytes, deadline: float) -> Response:
        future = self._predictor.submit(lambda: _predict(self._predictor, target, body))
        try:
            async with asyncio.timeout_at(deadline):
                return _json(await asyncio.shield(asyncio.wrap_future(future)))
        except TimeoutError:
            raise ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED, f'no answer within {self._limits.timeout:g} s'
            ) from None


def _predict(predictor: Predictor, target: Target, body: bytes) -> bytes:
    """Returns the body of the answer; runs on a thread of the predictor."""
    document = json_format.parse_body(body)
    request = predict_pb2.PredictRequest(model_spec=target.spec)
    request.model_spec.signature_name = json_format.signature_name(document)
    with predictor.manager.lease(request.model_spec) as servable:
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in servable.signatures:
            raise errors.invalid(f'Serving signature name: "{name}" not found in signature def')
        if not servable.signatures[name].inputs:
            raise errors.invalid(f'Failed to get input map for signature: {name}')
        layout, inputs = json_format.parse_inputs(document, servable.signatures[name].inputs)
        for key, proto in inputs.items():
            request.inputs[key].CopyFrom(proto)
        return json_format.format_outputs(servable.predict(request).outputs, layout)


def _metadata(predictor: Predictor, target: Target) -> bytes:
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=target.spec, metadata_field=['signature_def'])
    response = predictor.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata['signature_def'].Unpack(signatures)
    return b'{"model_spec": %b, "metadata": {"signature_def": %b}}' % (
        _message(response.model_spec),
        _message(signatures),
    )


def _has_two_lengths(request: Request) -> bool:
    """Returns whether a proxy in front of this server may have read another body than this server."""
    return 'content-length' in request.headers and 'transfer-encoding' in request.headers


async def _wrong_method(request: Request, error: Exception) -> Response:
    """Returns the error of the studio or of the metrics, which exist for GET alone."""
    assert isinstance(error, HTTPException)
    body = json_format.dump({'error': f'{request.url.path} does not support {request.method}'})
    return Response(body, error.status_code, error.headers, 'application/json')


def _message(message: Message) -> bytes:
    """Returns a protocol buffer as JSON, formatted as by TensorFlow Serving."""
    return protobuf_json.MessageToJson(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    ).encode()


def _json(body: bytes) -> Response:
    return Response(body, media_type='application/json')


def _error(error: ServingError) -> Response:
    headers = {'Retry-After': _RETRY_AFTER} if error.code is grpc.StatusCode.UNAVAILABLE else None
    body = json_format.dump({'error': error.message})
    return Response(body, error.http_status, headers, 'application/json')
