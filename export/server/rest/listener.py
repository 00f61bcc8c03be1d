"""uvicorn around the REST API, on a thread."""

import asyncio
import concurrent.futures
import errno
import socket
import threading
from typing import Any

import uvicorn

from export.server import drain, ports
from export.server.metrics import Metrics
from export.server.options import Options
from export.server.predictor import Predictor
from export.server.rest import protocol
from export.server.rest.api import RestApi, RestLimits
from export.server.rest.hosts import HostCheck, is_loopback

_KEEP_ALIVE = 75  # seconds: longer than load balancers keep an idle connection (60), so that they close it first
_COMPLAIN_AGAIN = 60  # seconds


class RestServer:
    """Listens from its construction, answers from `start` on."""

    def __init__(self, predictor: Predictor, metrics: Metrics, options: Options):
        """Raises `InputError` if the address is taken."""
        limits = RestLimits(options.max_body_bytes, options.rest_api_timeout_in_ms / 1000)
        self._api = RestApi(predictor, metrics, limits, options.max_concurrent_requests)
        self._socket = ports.listen(options.host, options.rest_api_port, 'rest_api_port')
        # Connections inherit it. Without it the body of an answer waits up to 40 ms for the client's acknowledgement of
        # the headers; asyncio sets it only on sockets that name their protocol.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address, self.port = self._socket.getsockname()[:2]
        application = self._api.application(
            metrics_path=options.metrics_path, cors=options.rest_api_enable_cors_support
        )
        config = uvicorn.Config(
            HostCheck(application, options.allowed_hosts) if is_loopback(address) else application,
            http=protocol.closing_stalled_connections(limits.timeout),
            ws='none',
            lifespan='off',
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=options.drain_seconds,  # type: ignore[arg-type]  # asyncio takes fractions too
        )
        self._server = uvicorn.Server(config)
        self._stop: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._complain_after = 0.0  # the event loop's time
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name='rest', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin_stop(self) -> None:
        """Starts to stop, from any thread and once."""
        if not self._stop.done():
            self._stop.set_result(None)

    def wait(self) -> int:
        """Waits for the last answer, at most for the drain time; returns the number of requests cut off."""
        self._thread.join()
        return self._api.cut_off

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._complain)
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        await asyncio.wrap_future(self._stop)
        self._api.draining = True
        drain.refuse_connections(self._socket)
        await self._linger()
        self._server.should_exit = True
        await serving
        if cancelled := asyncio.all_tasks() - {asyncio.current_task()}:  # they send their clients a last answer
            await asyncio.wait(cancelled, timeout=drain.LINGER)

    async def _linger(self) -> None:
        """Answers the requests of open connections: uvicorn closes a connection whose request it has not read."""
        deadline = asyncio.get_running_loop().time() + drain.LINGER
        await asyncio.sleep(drain.ACCEPTING)
        while self._server.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(drain.POLL)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Logs a lack of file descriptors once a minute; asyncio logs it, with a traceback, at every try."""
        if getattr(context.get('exception'), 'errno', None) in (errno.EMFILE, errno.ENFILE):
            if loop.time() < self._complain_after:
                return
            self._complain_after = loop.time() + _COMPLAIN_AGAIN
        loop.default_exception_handler(context)
