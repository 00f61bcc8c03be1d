"""The server as a process: prints its addresses, serves until a signal, and exits when it has drained."""

import contextlib
import os
import resource
import sys
import time
import urllib.parse
from collections.abc import Sequence
from typing import NoReturn

from export.server.models.config import ModelConfig
from export.server.options import Options
from export.server.server import Server
from pipeline import devices
from pipeline.interrupts import StopRequest

_SIGNAL_POLL = 0.1  # seconds


def serve(models: Sequence[ModelConfig], options: Options) -> None:
    """Serves until SIGTERM, SIGHUP or Ctrl-C. Raises `InputError` if it cannot start."""
    devices.use_cpu()
    devices.set_threads_per_operation(options.tensorflow_intra_op_parallelism)
    allow_connections()
    with StopRequest() as stop_request:
        server = Server(models, options, report)
        server.start()
        try:
            _announce(server, options.host)
            while not stop_request.signal:
                time.sleep(_SIGNAL_POLL)
            report('stopping: requests in progress are answered first')
        finally:
            stop(server, options.drain_seconds)


def report(line: str) -> None:
    """Prints to stderr; if stderr is closed, discards this and all later output."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def allow_connections() -> None:
    """Raises the limit on file descriptors, often 1024, to the highest allowed: each connection takes one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):  # some systems allow fewer than they report
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def stop(server: Server, drain_seconds: float) -> None:
    """Stops the server; exits at once if threads still run whose results nobody receives."""
    try:
        cut_off = server.stop()
    except KeyboardInterrupt:  # the second Ctrl-C
        _exit(130, 'interrupted')
    if cut_off:
        _exit(1, f'{cut_off} requests did not end within {drain_seconds:g} s and were cut off')
    if server.predictor.in_progress:
        _exit(0, 'predictions whose clients had left were cut off')
    if server.is_loading:  # Python would abort: it cannot end a thread that is in TensorFlow
        _exit(0, 'the loading of a version was cut off')


def _exit(code: int, message: str) -> NoReturn:
    report(message)
    os._exit(code)


def _announce(server: Server, host: str) -> None:
    """Prints the addresses and a request to try."""
    name = server.manager.names[0]
    shown = f'[{host}]' if ':' in host else host
    root = f'http://{shown}:{server.rest_port}'
    url = f'{root}/v1/models/{urllib.parse.quote(name, safe="")}'
    for model in server.manager.names:
        print(f'{model}: version {", ".join(map(str, server.manager.available(model)))}')
    print(f'Studio, in a browser: {root}/')
    print(f'REST at {url}, gRPC at {shown}:{server.grpc_port}. Try:')
    print(f"  curl -d '{server.example(name)}' {url}:predict", flush=True)
