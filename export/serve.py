"""Serves exported models over REST and gRPC, compatible with TensorFlow Serving's API.

Examples:

  python -m export.serve                                         (models/charrnn at 127.0.0.1:8501, gRPC at 8500)
  python -m export.serve --model_base_path=models/mine --model_name=mine --rest_api_port=0
  python -m export.serve --model_config_file=models.config       (several models, labels, version policies)

A new version under a model's folder takes over by itself. SIGTERM and Ctrl-C let what was asked be answered first.
Flags that TensorFlow Serving has too have its names.
"""

import contextlib
import os
import pathlib
import resource
import sys
import time
import urllib.parse
from typing import NoReturn

from absl import flags

from data.errors import InputError
from export.server import options
from pipeline import program
from pipeline.interrupts import StopRequest

_FLAGS = flags.FLAGS
_EXTRA = {'tensorflow_serving', 'grpc', 'grpc_health', 'grpc_reflection', 'starlette', 'uvicorn', 'prometheus_client'}
_MOST_SECONDS = 1_000_000
_LOOK_FOR_SIGNAL = 0.1  # seconds


def _models():
    """The models that the flags name."""
    from export.server.models import config

    if _FLAGS.model_config_file:
        return config.read(pathlib.Path(_FLAGS.model_config_file))
    if not _FLAGS.model_name:
        raise InputError('model_name is empty: give the name that requests call the model by.')
    latest = 1 if _FLAGS.model_version_policy == 'latest' else None
    return [config.ModelConfig(_FLAGS.model_name, pathlib.Path(_FLAGS.model_base_path), latest)]


def _options() -> options.Options:
    """What the flags say of how to serve."""
    batches = options.BatchingOptions(
        _FLAGS.max_batch_size, _FLAGS.batch_timeout_micros, _FLAGS.max_enqueued_batches, _FLAGS.num_batch_threads
    )
    return options.Options(
        host=_FLAGS.host,
        rest_api_port=_FLAGS.rest_api_port,
        port=_FLAGS.port,
        batches=batches if _FLAGS.enable_batching else None,
        max_rows=_FLAGS.max_rows,
        max_body_bytes=_FLAGS.max_body_bytes,
        max_concurrent_requests=_FLAGS.max_concurrent_requests,
        rest_api_timeout=_FLAGS.rest_api_timeout_in_ms / 1000,
        poll_wait=_FLAGS.file_system_poll_wait_seconds,
        max_num_load_retries=_FLAGS.max_num_load_retries,
        load_retry_interval=_FLAGS.load_retry_interval_micros / 1e6,
        drain=_FLAGS.drain_seconds,
    )


def _announce(server, host: str) -> None:
    """The addresses, and a request to try."""
    name = server.manager.names[0]
    shown = f'[{host}]' if ':' in host else host
    root = f'http://{shown}:{server.rest_port}'
    url = f'{root}/v1/models/{urllib.parse.quote(name, safe="")}'
    for model in server.manager.names:
        print(f'{model}: version {", ".join(map(str, server.manager.available(model)))}')
    print(f'Studio, in a browser: {root}/')
    print(f'REST at {url}, gRPC at {shown}:{server.grpc_port}. Try:')
    print(f"  curl -d '{server.example(name)}' {url}:predict", flush=True)


def _report(line: str) -> None:
    """On stderr; where its reader has gone, what is written from now on is for nobody, and no error."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _allow_connections() -> None:
    """As many as the system grants: each occupies a file descriptor, of which shells give a process 1024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):  # the system has come to grant fewer
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _stop(server) -> None:
    """Ends the process itself where threads would keep it, though nobody gets what they work on."""
    try:
        cut_off = server.stop()
    except KeyboardInterrupt:  # the second Ctrl-C
        _leave(130, 'interrupted')
    if cut_off:
        _leave(1, f'{cut_off} requests had not ended after {_FLAGS.drain_seconds:g} s and were cut off')
    if server.predictor.in_progress:
        _leave(0, 'predictions that nobody waits for any more were cut off')


def _leave(code: int, message: str) -> NoReturn:
    _report(message)
    os._exit(code)


def main() -> None:
    try:
        from export.server.server import Server
        from pipeline import devices
    except ModuleNotFoundError as error:
        if (error.name or '').split('.')[0] not in _EXTRA:
            raise
        raise InputError(
            f"the server needs {error.name}, of the extra 'serve': make serve, or pip install "
            "--constraint constraints.txt --editable '.[serve]'."
        ) from error
    devices.one_thread_an_operation()
    _allow_connections()
    with StopRequest() as stop:
        server = Server(_models(), _options(), _report)
        server.start()
        try:
            _announce(server, _FLAGS.host)
            while not stop.signal:
                time.sleep(_LOOK_FOR_SIGNAL)
            _report('stopping: what was asked is answered first')
        finally:
            _stop(server)


if __name__ == '__main__':
    _default, _batches = options.Options(), options.BatchingOptions()
    flags.DEFINE_string('model_base_path', 'models/charrnn', 'The folder of versions of the model.')
    flags.DEFINE_string('model_name', 'charrnn', 'The name that requests call it by.')
    flags.DEFINE_enum(
        'model_version_policy', 'latest', ['latest', 'all'], 'Which versions answer: the newest alone, or all.'
    )
    flags.DEFINE_string(
        'model_config_file',
        None,
        'A ModelServerConfig in text form: several models, policies, labels. Then --model_name, --model_base_path and '
        '--model_version_policy are ignored.',
    )
    flags.DEFINE_string('host', _default.host, 'Where to listen. There is no authentication: mind who can reach it.')
    flags.DEFINE_integer('rest_api_port', _default.rest_api_port, 'Port of the REST API; 0: any.', 0, 65535)
    flags.DEFINE_integer('port', _default.port, 'Port of the gRPC API; 0: any.', 0, 65535)
    flags.DEFINE_boolean('enable_batching', True, 'Run the rows of concurrent requests together.')
    flags.DEFINE_integer(
        'max_batch_size',
        _batches.max_batch_size,
        'The most rows in a batch of several requests; a larger request runs by itself.',
        1,
    )
    flags.DEFINE_integer(
        'batch_timeout_micros', _batches.batch_timeout_micros, 'How long the first row of a batch waits for others.', 0
    )
    flags.DEFINE_integer(
        'max_enqueued_batches', _batches.max_enqueued_batches, 'Batches that may wait; beyond them: 503.', 1
    )
    flags.DEFINE_integer('num_batch_threads', _batches.num_batch_threads, 'Batches that run at a time.', 1)
    flags.DEFINE_integer(
        'max_concurrent_requests', _default.max_concurrent_requests, 'Requests in progress; beyond them: 503.', 1
    )
    flags.DEFINE_integer('max_rows', _default.max_rows, 'The most rows of a request.', 1)
    flags.DEFINE_integer('max_body_bytes', _default.max_body_bytes, 'The largest body of a request.', 1)
    flags.DEFINE_integer(
        'rest_api_timeout_in_ms',
        round(_default.rest_api_timeout * 1000),
        'After so long the answer is 504. The prediction runs to its end all the same.',
        1,
    )
    flags.DEFINE_float(
        'file_system_poll_wait_seconds', _default.poll_wait, 'How often to look for new versions; 0: never again.', 0.0
    )
    flags.DEFINE_integer(
        'max_num_load_retries', _default.max_num_load_retries, 'How often to try a broken version again.', 0
    )
    flags.DEFINE_integer(
        'load_retry_interval_micros',
        round(_default.load_retry_interval * 1e6),
        'The time between tries to load a broken version.',
        0,
    )
    flags.DEFINE_float(
        'drain_seconds', _default.drain, 'How long requests in progress may take after SIGTERM or Ctrl-C.', 0.0
    )
    for name in ('file_system_poll_wait_seconds', 'drain_seconds'):
        flags.register_validator(name, lambda value: value <= _MOST_SECONDS, f'must be {_MOST_SECONDS:,} or less')
    program.run(main)
