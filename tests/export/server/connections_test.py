"""Clients that hold connections and streams open: others are served, and the log stays short."""

import contextlib
import http.client
import json
import os
import resource
import socket
import time
import urllib.parse

import grpc
import pytest

from export.server import process
from export.server.models.config import ModelConfig
from export.server.rest import listener
from export.server.rpc import reflection
from tests.export.server.client import PATIENCE, open_reflection, predict_request


@pytest.fixture
def file_limits():
    """The limits of this process, which the test may change."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    'sent', [b'', b'G', b'GET /v1/models/m HTTP/1.1\r\nHost: local'], ids=['', 'a byte', 'half a head']
)
def test_connection_without_a_whole_request_is_closed(serve, model_dirs, monkeypatch, sent):
    monkeypatch.setattr(listener, '_KEEP_ALIVE', 0.1)
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')])
    url = urllib.parse.urlsplit(address.rest)
    with socket.create_connection((url.hostname, url.port), PATIENCE) as client:
        client.sendall(sent)
        assert client.recv(1) == b''
    assert address.predict('m', {'instances': [1]}).status == 200


def test_head_that_arrives_byte_by_byte_has_no_more_time(serve, model_dirs, monkeypatch):
    monkeypatch.setattr(listener, '_KEEP_ALIVE', 0.3)
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')])
    url = urllib.parse.urlsplit(address.rest)
    with socket.create_connection((url.hostname, url.port), PATIENCE) as client:
        client.settimeout(0.05)
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline
            try:
                client.sendall(b'G')
                assert client.recv(1) == b''
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break


def test_each_request_on_a_connection_has_its_own_time(serve, model_dirs, monkeypatch):
    """Each head comes in two parts, the first of them together with the request before."""
    monkeypatch.setattr(listener, '_KEEP_ALIVE', 0.3)
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')])
    url, request = urllib.parse.urlsplit(address.rest), b'GET /v1/models/m HTTP/1.1\r\nHost: localhost\r\n\r\n'
    with socket.create_connection((url.hostname, url.port), PATIENCE) as client:
        client.sendall(request[:9])
        assert address.http('GET', '/v1/models/m').status == 200  # the server has read the part before
        began = time.monotonic()
        while time.monotonic() < began + 2 * 0.3:
            client.sendall(request[9:] + request[:9])
            response = http.client.HTTPResponse(client)
            response.begin()
            assert (response.status, json.loads(response.read()).keys()) == (200, {'model_version_status'})


def test_lack_of_file_descriptors_is_logged_once_and_passes(serve, model_dirs, file_limits, caplog):
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')])
    url = urllib.parse.urlsplit(address.rest)
    with socket.socket() as client, contextlib.ExitStack() as others:
        client.settimeout(PATIENCE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, file_limits[1]))
        with contextlib.suppress(OSError):
            while True:
                others.callback(os.close, os.dup(client.fileno()))
        client.connect((url.hostname, url.port))  # the kernel makes the connection; the server cannot accept it
        client.sendall(b'GET /v1/models/m HTTP/1.1\r\nHost: localhost\r\n\r\n')
        deadline = time.monotonic() + PATIENCE
        while not caplog.records:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_NOFILE, file_limits)
        assert client.recv(12) == b'HTTP/1.1 200'
    assert ['out of system resource' in record.getMessage() for record in caplog.records] == [True]


def test_program_raises_its_limit_on_file_descriptors(file_limits):
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limits[1] - 1, file_limits[1]))
    process.allow_connections()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (file_limits[1], file_limits[1])


def test_open_reflection_streams_leave_threads_for_the_others(own_address, stubs):
    with contextlib.ExitStack() as open_streams:
        for _ in range(reflection._MOST_STREAMS):
            stream = open_streams.enter_context(open_reflection(own_address))
        with pytest.raises(grpc.RpcError) as refused, open_reflection(own_address):
            pass
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stubs.predict(predict_request('half_plus_two', x=[1.0]))['y'] == [2.5]
        stream.cancel()
        deadline = time.monotonic() + PATIENCE
        while not _reflects(own_address):  # when the server has noticed that the client has gone
            assert time.monotonic() < deadline


def _reflects(address):
    try:
        with open_reflection(address):
            return True
    except grpc.RpcError:
        return False
