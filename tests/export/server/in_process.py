"""A server in this process, for tests."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from export.server.models.config import ModelConfig
from export.server.options import Options
from export.server.server import Server


@contextlib.contextmanager
def serving(configs: Sequence[ModelConfig], **options) -> Iterator[Server]:
    """On ports of the system's choice, while the context lasts; looks for versions only when told to.

    Without warm-up, which takes three seconds, unless told to.
    """
    defaults = {'file_system_poll_wait_seconds': 0.0, 'enable_model_warmup': False}
    server = Server(configs, Options(rest_api_port=0, port=0, **defaults | options), lambda line: None)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def serve(models: Mapping[str, pathlib.Path], **options) -> Iterator[str]:
    """Serves models, folders of versions by name; gives `http://host:port`."""
    with serving([ModelConfig(name, folder) for name, folder in models.items()], **options) as server:
        yield f'http://127.0.0.1:{server.rest_port}'
