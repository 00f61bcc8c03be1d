"""`:generate_stream` as an HTTP response: server-sent events for as long as the client listens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from export.server import errors
from export.server.errors import ServingError
from export.server.models import streaming
from export.server.predictor import Predictor
from export.server.rest.paths import Target


class EventStream(StreamingResponse):
    """Holds its place and its servable until it ends, or the client has gone."""

    def __init__(self, events: AsyncIterator[bytes], held: contextlib.ExitStack):
        super().__init__(
            events, media_type='text/event-stream', headers={'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no'}
        )
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


async def start(predictor: Predictor, target: Target, body: bytes) -> EventStream:
    """A stream whose first event is there. Raises `ServingError` for a request that is refused."""
    with contextlib.ExitStack() as held:
        held.enter_context(predictor.place())
        servable = held.enter_context(predictor.manager.lease(target.spec))

        def begin() -> tuple[dict, Iterator[dict]]:
            events = streaming.characters(servable, streaming.parse(body, servable))
            return next(events), events

        first, events = await predictor.run(begin)
        return EventStream(_encoded(predictor, first, events), held.pop_all())


async def _encoded(predictor: Predictor, event: dict | None, events: Iterator[dict]) -> AsyncIterator[bytes]:
    try:
        while event is not None:
            yield streaming.format_event(event)
            event = await predictor.run(lambda: next(events, None))
    except ServingError as error:
        yield _error(error)
    except asyncio.CancelledError:  # the drain is over, or the client has gone and reads no more
        yield _error(errors.CUT_OFF)


def _error(error: ServingError) -> bytes:
    return streaming.format_event({'event': 'error', 'data': {'error': error.message}})
