"""`POST /v1/models/NAME:generate_stream`: one text as server-sent events. TensorFlow Serving does not have it."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import tensorflow as tf
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from export.artifact.description import FORMAT
from export.artifact.text_request import TextRequest
from export.server import errors
from export.server.errors import ServingError
from export.server.models.servable import Servable
from export.server.predictor import Predictor
from export.server.rest import json_format
from export.server.rest.json_values import shown
from export.server.rest.paths import Target
from pipeline.generate import SIGNATURE

_DTYPES = {spec.name: spec.dtype for spec in SIGNATURE}
_CANDIDATES = 'candidates'
_MOST_CANDIDATES = 100
_GATHERED, _MOST_GATHERED = 0.004, 32  # seconds, events


class EventStream(StreamingResponse):
    """Holds a slot and a servable until the stream ends or the client disconnects."""

    def __init__(self, events: AsyncIterator[bytes], held: contextlib.ExitStack):
        super().__init__(
            events, media_type='text/event-stream', headers={'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no'}
        )
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


async def start(predictor: Predictor, target: Target, body: bytes) -> EventStream:
    """Returns a stream whose first event is ready. Raises `ServingError` if the request is refused."""
    with contextlib.ExitStack() as held:
        held.enter_context(predictor.slot())
        servable = held.enter_context(predictor.manager.lease(target.spec))

        def begin() -> tuple[dict, Iterator[dict]]:
            events = servable.stream(*parse(body, servable))
            return next(events), events

        first, events = await predictor.run(begin)
        return EventStream(_encoded(predictor, first, events), held.pop_all())


def parse(body: bytes, servable: Servable) -> tuple[TextRequest, int]:
    """Returns the request in a body, for one text, and the number of candidates to send for each character.

    The body is a JSON object with `prefix` and any of the other inputs of `generate` and `candidates`.

    Raises:
      ServingError: the model cannot stream, the body is not such an object, or the model refuses a value.
    """
    if not servable.can_stream:
        raise errors.invalid(
            f'model {servable.name} version {servable.version} cannot stream: it needs the signature "step" and '
            f'assets.extra/charrnn.json of format {FORMAT}. Export it again with python -m export.saved_model, or use '
            f':predict'
        )
    fields = json_format.parse_body(body)
    unknown = [name for name in fields if name not in (*_DTYPES, _CANDIDATES)]
    if unknown:
        raise errors.invalid(f'the key {shown(unknown[0])} is not one of {", ".join((*_DTYPES, _CANDIDATES))}')
    if 'prefix' not in fields:
        raise errors.invalid('prefix is missing; it must be a string, the beginning of the text')
    given = {'length': servable.description['default_length'], _CANDIDATES: 0} | fields
    highest = {'length': servable.description['limits']['max_length'], _CANDIDATES: _MOST_CANDIDATES}
    valid = {name: _valid(name, value, highest.get(name)) for name, value in given.items()}
    num_candidates = valid.pop(_CANDIDATES)
    request = TextRequest(**valid)
    row = {name: tf.constant([getattr(request, name)], dtype) for name, dtype in _DTYPES.items()}
    try:
        servable.check('generate', row)
    except ServingError as error:  # the message names row 0 of an input; a stream has one text
        raise ServingError(error.code, error.message.replace('[0]', '', 1)) from error
    return request, num_candidates


def format_event(event: dict) -> bytes:
    """Returns `{'event': name or None, 'data': …}` as a server-sent event; JSON contains no line break to end it."""
    name = f'event: {event["event"]}\n' if event['event'] else ''
    return f'{name}data: {json.dumps(event["data"], ensure_ascii=False)}\n\n'.encode()


async def _encoded(predictor: Predictor, event: dict, events: Iterator[dict]) -> AsyncIterator[bytes]:
    try:
        yield format_event(event)
        while found := await predictor.run(lambda: _ready(events)):
            yield b''.join(map(format_event, found))
    except asyncio.CancelledError:  # the drain time is over, or the client has disconnected
        yield format_event(_error(errors.CUT_OFF))


def _ready(events: Iterator[dict]) -> list[dict]:
    """Returns the events of the next few milliseconds, at least one; none at the end.

    To pass each to the connection alone takes as long as to choose a character.
    """
    found: list[dict] = []
    until = time.monotonic() + _GATHERED
    try:
        while not found or (time.monotonic() < until and len(found) < _MOST_GATHERED):
            found.append(next(events))
    except StopIteration:
        pass
    except ServingError as error:
        found.append(_error(error))
    return found


def _error(error: ServingError) -> dict:
    return {'event': 'error', 'data': {'error': error.message}}


def _valid(name: str, value: Any, highest: int | None) -> Any:
    """Returns `value` in the type of the input `name`. Raises `ServingError` if it does not fit.

    `highest`: the largest integer that the model allows; None: that of the type.
    """
    dtype = _DTYPES.get(name, tf.int32)
    if dtype == tf.string:
        valid, rule = isinstance(value, str), 'a string'
    elif dtype.is_integer:
        lowest = dtype.min if name == 'seed' else 0
        highest = dtype.max if highest is None else highest
        valid = type(value) is int and lowest <= value <= highest
        rule = f'an integer from {lowest} to {highest}'
    else:
        valid = type(value) in (int, float) and abs(value) <= float(dtype.max)
        rule = 'a number that a float32 can hold'
    if not valid:
        raise errors.invalid(f'{name} is {shown(value)}; it must be {rule}')
    return float(value) if dtype.is_floating else value
