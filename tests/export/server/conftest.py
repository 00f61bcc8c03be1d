"""One server with both models for all tests that do not change it; other tests start their own with `serve`."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from export.server.models import config
from export.server.server import Server
from tests.export.server import served_models
from tests.export.server.client import Address, Stubs
from tests.export.server.in_process import serving

pytest.register_assert_rewrite('tests.export.server.contract')


def address_of(server: Server) -> Address:
    return Address(f'http://127.0.0.1:{server.rest_port}', f'127.0.0.1:{server.grpc_port}')


@pytest.fixture
def serve() -> Iterator[Callable]:
    """`serve(configs, **options)` -> (server, address), until the test ends."""
    with contextlib.ExitStack() as stack:

        def serve(configs, **options) -> tuple[Server, Address]:
            server = stack.enter_context(serving(configs, **options))
            return server, address_of(server)

        yield serve


@pytest.fixture(scope='session')
def model_dirs(written_once):
    """The directory of both models and their config."""
    return written_once('model_dirs', served_models.write)


@pytest.fixture(scope='session')
def own_address(model_dirs) -> Iterator[Address]:
    """The server of this project."""
    with serving(config.read(model_dirs / 'models.config')) as server:
        yield address_of(server)


@pytest.fixture(scope='session')
def other_address() -> Address:
    """Another server of the two models; see docs/serving.md."""
    if 'CHARRNN_SERVER_URL' not in os.environ:
        pytest.skip('CHARRNN_SERVER_URL does not name another server (docs/serving.md)')
    return Address(os.environ['CHARRNN_SERVER_URL'].rstrip('/'), os.environ.get('CHARRNN_SERVER_GRPC', ''))


@pytest.fixture(scope='session')
def stubs(own_address) -> Stubs:
    return Stubs(own_address.grpc)
