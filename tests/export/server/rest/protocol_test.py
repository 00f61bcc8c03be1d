"""Streams behind a proxy, and to a client that reads nothing: it does not hold a version or a shutdown."""

import contextlib
import json
import socket
import threading
import time
import urllib.parse

import pytest

from export.artifact import streaming
from export.server.models.config import ModelConfig
from export.server.rest.protocol import ClosingProtocol
from tests.export.server.client import PATIENCE


def test_proxy_is_told_to_pass_on_each_event_at_once_and_to_keep_none(own_address):
    answer = own_address.http('POST', '/v1/models/charrnn:generate_stream', {'prefix': '分', 'length': 1})
    assert (answer.headers['x-accel-buffering'], answer.headers['cache-control']) == ('no', 'no-store')


@pytest.fixture
def endless(serve, model_dirs, monkeypatch):
    """`endless(limit)` -> (server, socket): a stream without end has begun; `limit`: milliseconds."""
    event = {'event': None, 'data': {'text': 'a' * 2**16, 'log_probability': 0.0}}
    body = json.dumps({'prefix': '分'}).encode()
    head = f'POST /v1/models/m:generate_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n'
    with contextlib.ExitStack() as stack:

        def endless(limit):
            server, address = serve([ModelConfig('m', model_dirs / 'charrnn')], rest_api_timeout_in_ms=limit)
            monkeypatch.setattr(streaming.Streamer, 'characters', lambda *_: iter(lambda: event, None))
            url = urllib.parse.urlsplit(address.rest)
            reader = stack.enter_context(socket.create_connection((url.hostname, url.port), PATIENCE))
            reader.sendall(head.encode() + body)
            assert reader.recv(15) == b'HTTP/1.1 200 OK'
            return server, reader

        yield endless


def test_reader_that_stops_is_disconnected(endless):
    """Events without end fill all buffers; after the time limit the connection is closed and the slot free."""
    server, _ = endless(200)
    deadline = time.monotonic() + PATIENCE
    while server.predictor.in_progress:
        assert time.monotonic() < deadline
    assert server.stop() == 0


def test_reader_that_goes_on_has_no_limit(endless, monkeypatch):
    """It reads nothing until the buffers are full, then all, for longer than the limit."""
    full, pause = threading.Event(), ClosingProtocol.pause_writing
    monkeypatch.setattr(ClosingProtocol, 'pause_writing', lambda self: pause(self) or full.set())
    _, reader = endless(1000)
    assert full.wait(PATIENCE)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert reader.recv(2**16)
