"""One server with both models for all tests that do not change it; others make their own with `serve`."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from export.server import model_config
from export.server.server import Server
from tests.served import serving
from tests.server import models
from tests.server.client import Address, Stubs

pytest.register_assert_rewrite('tests.server.contract')


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
def model_dirs(tmp_path_factory):
    """Where both models are, and their config."""
    directory = tmp_path_factory.mktemp('models')
    models.write(directory)
    return directory


@pytest.fixture(scope='session')
def own_address(model_dirs) -> Iterator[Address]:
    """The server of this project."""
    with serving(model_config.read(model_dirs / 'models.config')) as server:
        yield address_of(server)


@pytest.fixture(scope='session')
def other_address() -> Address:
    """Any other server of the two models; see docs/serving."""
    if 'CHARRNN_SERVER_URL' not in os.environ:
        pytest.skip('CHARRNN_SERVER_URL names no other server to try (docs/serving says how)')
    return Address(os.environ['CHARRNN_SERVER_URL'].rstrip('/'), os.environ.get('CHARRNN_SERVER_GRPC', ''))


@pytest.fixture(scope='session')
def stubs(own_address) -> Stubs:
    return Stubs(own_address.grpc)
