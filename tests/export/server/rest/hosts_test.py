"""Host names under which the server answers."""

import http.client
import urllib.parse

import pytest

from export.server.models.config import ModelConfig
from tests.export.server.client import PATIENCE
from tests.export.server.conftest import address_of
from tests.export.server.in_process import serving


def _status(address, host: str, path: str = '/v1/models/m') -> int:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address.rest).netloc, timeout=PATIENCE)
    connection.request('GET', path, headers={'Host': host})
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    ('host', 'status'),
    [
        ('127.0.0.1:8501', 200),
        ('localhost', 200),
        ('LOCALHOST.:80', 200),
        ('[::1]:8501', 200),
        ('192.168.1.7', 200),
        ('mine.example', 200),
        ('evil.example', 403),
        ('evil.example:8501', 403),
        ('127.0.0.1.evil.example', 403),
        ('[::1', 403),
        ('localhost@evil.example:80', 403),
    ],
)
@pytest.mark.parametrize('path', ['/v1/models/m', '/', '/studio/model.json'])
def test_server_on_loopback_answers_only_localhost_addresses_and_allowed_hosts(rebound, host, status, path):
    assert _status(rebound, host, path) == status


@pytest.fixture(scope='module')
def rebound(model_dirs):
    with serving([ModelConfig('m', model_dirs / 'half_plus_two')], allowed_hosts=('mine.example',)) as server:
        yield address_of(server)


def test_server_on_all_addresses_answers_every_host(serve, model_dirs):
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')], host='0.0.0.0')
    assert _status(address, 'any.example') == 200
