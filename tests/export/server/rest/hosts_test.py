"""Host names under which the server answers."""

import http.client
import json
import shutil
import urllib.parse

import pytest

from export.artifact import versions
from export.server.models.config import ModelConfig
from export.server.rest import hosts
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


def test_visitors_see_the_name_of_the_corpus_and_not_its_path(serve, model_dirs, tmp_path):
    version_dir = shutil.copytree(model_dirs / 'charrnn' / '1', tmp_path / 'm' / '1')
    path = version_dir / versions.DESCRIPTION
    config = {'cell': 'rnn', 'hidden_size': 16, 'prefixes': ['分'], 'corpus': '/home/me/private/novel.txt'}
    corpus = {'name': '/home/me/private/novel.txt', 'sha256': 'x'}
    path.write_text(json.dumps(json.loads(path.read_text()) | {'config': config, 'corpus': corpus}))
    _, address = serve([ModelConfig('m', tmp_path / 'm')])
    listed = address.http('GET', '/studio/model.json')
    assert listed.document['models'][0]['corpus'] == {'name': 'novel.txt'}
    assert b'private' not in listed.body


def test_server_on_a_name_of_a_loopback_address_answers_no_foreign_host(serve, model_dirs):
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')], host='LOCALHOST')
    assert _status(address, 'evil.example') == 403


@pytest.mark.parametrize(
    ('address', 'expected'),
    [
        ('127.0.0.1', True),
        ('127.8.9.10', True),
        ('::1', True),
        ('::ffff:127.0.0.1', True),
        ('::ffff:192.168.1.7', False),
        ('0.0.0.0', False),
        ('::', False),
        ('192.168.1.7', False),
        ('fe80::1%eth0', False),
    ],
)
def test_loopback_addresses(address, expected):
    assert hosts.is_loopback(address) == expected


def test_server_on_all_addresses_answers_every_host(serve, model_dirs):
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')], host='0.0.0.0')
    assert _status(address, 'any.example') == 200
