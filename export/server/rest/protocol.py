"""uvicorn's HTTP protocol with three time limits that it lacks."""

import asyncio
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD, _STALL = 'head', 'stall'


class ClosingProtocol(H11Protocol):
    """Closes a connection that makes no progress.

    A client that sends nothing has the keep-alive time; uvicorn gives it that only after a first answer. The head of a
    request has the keep-alive time from its first bytes. A client that reads nothing of its answer has `write_timeout`
    seconds from when the buffers are full.
    """

    write_timeout: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        self._limits: dict[str, asyncio.TimerHandle] = {}
        keep_alive, close = self.timeout_keep_alive, self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(keep_alive, close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end(_HEAD)
        elif _HEAD not in self._limits and not self.timeout_keep_alive_task:
            self._begin(_HEAD, self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._begin(_STALL, self.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end(_STALL)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(_HEAD)
        self._end(_STALL)
        super().connection_lost(exc)

    def _begin(self, limit: str, seconds: float, end: Callable[[], None]) -> None:
        self._limits[limit] = self.loop.call_later(seconds, end)

    def _end(self, limit: str) -> None:
        if limit in self._limits:
            self._limits.pop(limit).cancel()


def closing_stalled_connections(write_timeout: float) -> type[ClosingProtocol]:
    """Returns the protocol with a time limit of the server."""
    return type('Protocol', (ClosingProtocol,), {'write_timeout': write_timeout})
