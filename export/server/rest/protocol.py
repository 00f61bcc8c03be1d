"""uvicorn's HTTP protocol with three time limits that it lacks."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def closing_stalled_connections(write_timeout: float) -> type[H11Protocol]:
    """Returns a protocol that closes a connection that makes no progress.

    A client that sends nothing has the keep-alive time; uvicorn gives it that only after a first answer. The head of a
    request has the keep-alive time from its first bytes. A client that reads nothing of its answer has `write_timeout`
    seconds from when the buffers are full.
    """

    class Protocol(H11Protocol):
        _incomplete_head: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
            super().connection_made(transport)
            keep_alive, close = self.timeout_keep_alive, self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(keep_alive, close)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._end_incomplete_head()
            elif self._incomplete_head is None and not self.timeout_keep_alive_task:
                close = self.timeout_keep_alive_handler
                self._incomplete_head = self.loop.call_later(self.timeout_keep_alive, close)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(write_timeout, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._end_stall()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_incomplete_head()
            self._end_stall()
            super().connection_lost(exc)

        def _end_incomplete_head(self) -> None:
            if self._incomplete_head:
                self._incomplete_head.cancel()
                self._incomplete_head = None

        def _end_stall(self) -> None:
            if self._stalled:
                self._stalled.cancel()
                self._stalled = None

    return Protocol
