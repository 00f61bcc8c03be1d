"""The server: models, both protocols, and their beginning and end."""

import asyncio
import ctypes
import pathlib
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

import uvicorn

from data.errors import InputError
from export.server import example, warmup
from export.server.grpc_services import GrpcServer
from export.server.manager import Manager
from export.server.metrics import Metrics
from export.server.model_config import ModelConfig
from export.server.options import Options
from export.server.predictor import Predictor, specification
from export.server.rest import RestApi, RestLimits
from export.server.servable import Servable

_KEEP_ALIVE = 75  # seconds: longer than load balancers keep an idle connection (60), so that they close it first
_LINGER = 0.3  # seconds: what a client has sent before the port closed is read
_SO_ATTACH_FILTER, _BPF_RETURN = 26, 6  # Linux's numbers, which Python's socket module lacks


class Server:
    """Serves from `start` to `stop`; both ports are known from when it is made."""

    def __init__(self, models: Sequence[ModelConfig], options: Options, report: Callable[[str], None]):
        """Loads the models; `report` gets lines for people. Raises `InputError` where there is nothing to serve."""
        self._options = options
        self.manager = Manager(
            models,
            self._load,
            max_num_load_retries=options.max_num_load_retries,
            load_retry_interval=options.load_retry_interval,
            report=report,
        )
        self.manager.poll()
        for model in models:
            _check_available(self.manager, model)
        self.predictor = Predictor(self.manager, options.max_concurrent_requests)
        metrics = Metrics(self.manager.names)
        self._rest = _RestServer(self.predictor, metrics, options)
        self._grpc = GrpcServer(
            self.predictor,
            metrics,
            options.host,
            options.port,
            max_concurrent_requests=options.max_concurrent_requests,
            max_body_bytes=options.max_body_bytes,
        )
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name='watcher', daemon=True)

    @property
    def rest_port(self) -> int:
        return self._rest.port

    @property
    def grpc_port(self) -> int:
        return self._grpc.port

    def example(self, name: str) -> str:
        """The body of a request to the model that works."""
        with self.manager.lease(specification(name)) as servable:
            return example.body(servable)

    def start(self) -> None:
        """Answers from now on, and watches for new versions."""
        self._rest.start()
        self._grpc.start()
        self._watcher.start()

    def stop(self) -> None:
        """Takes no more requests, and lets those it has taken end, for as long as the options say."""
        self._stopping.set()
        self._grpc.not_serving()
        self._rest.begin_stop()
        self._grpc.stop(self._options.drain)
        self._rest.wait(self._options.drain)
        self.predictor.close()

    def _load(self, name: str, version: int, directory: pathlib.Path) -> Servable:
        servable = Servable(name, version, directory, self._options.batches, self._options.max_rows)
        warmup.warm_up(servable)
        return servable

    def _watch(self) -> None:
        while self._options.poll_wait and not self._stopping.wait(self._options.poll_wait):
            try:
                self.manager.poll()
            except OSError:  # a disk that does not answer now may do so later
                traceback.print_exc(file=sys.stderr)


class _RestServer:
    """uvicorn on a thread of its own."""

    def __init__(self, predictor: Predictor, metrics: Metrics, options: Options):
        limits = RestLimits(options.max_body_bytes, options.rest_api_timeout)
        self._api = RestApi(predictor, metrics, limits, options.max_concurrent_requests)
        self._socket = _listen(options.host, options.rest_api_port)
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._api.application(),
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

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds + 2 * _LINGER)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


class _Uvicorn(uvicorn.Server):
    """Closes the port first, and a connection only when what was sent on it has been answered."""

    def __init__(self, config: uvicorn.Config, api: RestApi):
        super().__init__(config)
        self._api = api

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._api.draining = True
        for listening in sockets or []:
            _refuse_connections(listening)
        await asyncio.sleep(_LINGER)
        await super().shutdown(sockets)


def _refuse_connections(listening: socket.socket) -> None:
    """New ones only: those that the kernel has already taken would be cut off if the port were closed at once."""
    nothing_passes = ctypes.create_string_buffer(struct.pack('HBBI', _BPF_RETURN, 0, 0, 0))
    program = struct.pack('HP', 1, ctypes.addressof(nothing_passes))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise InputError(
            f'rest_api_port={port} cannot be listened on at {host} ({error.strerror}): choose another, or 0 for any.'
        ) from error


def _check_available(manager: Manager, model: ModelConfig) -> None:
    available = manager.available(model.name)
    if not available:
        problem = manager.problem(model.name)
        what = f'no version that can be served: {problem}' if problem else 'no exported model'
        raise InputError(
            f'{str(model.base_path)!r} holds {what}. Make one with python -m export.saved_model --model_dir='
            f'{model.base_path}.'
        )
    missing = {label: version for label, version in model.labels.items() if version not in available}
    if missing:
        raise InputError(f'version_labels of model {model.name}: {missing} are not among its versions {available}.')
