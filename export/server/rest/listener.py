"""uvicorn around the REST API, with an end that cuts nobody off."""

import asyncio
import contextlib
import ctypes
import errno
import os
import select
import socket
import struct
import threading
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from data.errors import InputError
from export.server.metrics import Metrics
from export.server.options import Options
from export.server.predictor import Predictor
from export.server.rest.api import RestApi, RestLimits

# Seconds. At the end the port stays open until connections that the kernel has made are accepted, and those stay open
# until a client that was about to send has done so.
_ACCEPTING, _LINGER, _LOOK_AGAIN = 0.1, 1.0, 0.02
_KEEP_ALIVE = 75  # seconds: longer than load balancers keep an idle connection (60), so that they close it first
_COMPLAIN_AGAIN = 60  # seconds
_SO_ATTACH_FILTER, _BPF_RETURN = 26, 6  # Linux's numbers, which Python's socket module lacks


class RestServer:
    """uvicorn on a thread of its own; listens from when it is made, answers from when it is started."""

    def __init__(self, predictor: Predictor, metrics: Metrics, options: Options):
        """Raises `InputError` where the address is taken."""
        limits = RestLimits(options.max_body_bytes, options.rest_api_timeout)
        self._api = RestApi(predictor, metrics, limits, options.max_concurrent_requests)
        self._socket = _listen(options.host, options.rest_api_port)
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._api.application(),
            http=_Protocol,
            ws='none',
            lifespan='off',
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=options.drain,
        )
        self._server = _Uvicorn(config, self._api)
        self._thread = threading.Thread(target=self._run, name='rest', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin_stop(self) -> None:
        self._server.should_exit = True

    def wait(self) -> int:
        """Until the last answer is sent, or the time for that is over: how many requests were cut off."""
        self._thread.join()
        return self._api.cut_off

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


class _Protocol(H11Protocol):
    """Closes a connection that sends nothing at first as it does one that sends nothing after an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


class _Uvicorn(uvicorn.Server):
    """Closes the port first, and a connection only when what was sent on it has been answered."""

    def __init__(self, config: uvicorn.Config, api: RestApi):
        super().__init__(config)
        self._api = api
        self._complain_after = 0.0  # the loop's time

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._complain)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._api.draining = True
        for listening in sockets or []:
            _refuse_connections(listening)
        await self._linger()
        await super().shutdown(sockets)
        if self.server_state.tasks:  # cancelled a moment ago, and about to say so to their clients
            await asyncio.wait(self.server_state.tasks, timeout=_LINGER)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Of too few file descriptors now and then: asyncio would, with a trace, thousands of times a second."""
        if getattr(context.get('exception'), 'errno', None) in (errno.EMFILE, errno.ENFILE):
            if loop.time() < self._complain_after:
                return
            self._complain_after = loop.time() + _COMPLAIN_AGAIN
        loop.default_exception_handler(context)

    async def _linger(self) -> None:
        """What has been sent, or is just being sent on a connection that has just been made, is taken up."""
        now = asyncio.get_running_loop().time
        begun = now()
        await asyncio.sleep(_ACCEPTING)
        connections = self.server_state.connections
        while connections and (now() < begun + _LINGER or any(map(_has_unread, connections))):
            if now() > begun + self.config.timeout_graceful_shutdown:
                return
            await asyncio.sleep(_LOOK_AGAIN)


def _has_unread(connection: H11Protocol) -> bool:
    """Whether the client has sent something that nobody has looked at."""
    number = connection.transport.get_extra_info('socket').fileno()
    poll = select.poll()
    if number >= 0:
        poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _refuse_connections(listening: socket.socket) -> None:
    """New ones only: those that the kernel has already taken would be cut off if the port were closed at once."""
    nothing_passes = ctypes.create_string_buffer(struct.pack('HBBI', _BPF_RETURN, 0, 0, 0))
    program = struct.pack('HP', 1, ctypes.addressof(nothing_passes))
    with contextlib.suppress(OSError):  # some sandboxes have no filters; then such a connection may be cut off
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    no_address = f'host={host!r} is no address of this machine: give 127.0.0.1, ::1, 0.0.0.0 for all, or another.'
    if not host:  # would be all of them
        raise InputError(no_address)
    try:
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL or error.errno < 0:  # as those of the resolver are
            raise InputError(no_address) from error
        reason = os.strerror(error.errno)
        raise InputError(
            f'rest_api_port={port} cannot be listened on at {host} ({reason}): choose another, or 0 for any.'
        ) from error
    # Connections take it over. Without it the body of an answer waits for the client's word that the head has come,
    # 40 ms on a connection that is kept; asyncio sets it only on sockets that name their protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
