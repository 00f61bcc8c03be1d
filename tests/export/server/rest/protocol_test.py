"""Streams behind a proxy, and to a client that reads nothing: it does not hold a version or a shutdown."""

import json
import socket
import time
import urllib.parse

from export.artifact import streaming
from export.server.models.config import ModelConfig
from tests.export.server.client import PATIENCE


def test_proxy_is_told_to_pass_on_each_event_at_once_and_to_keep_none(own_address):
    answer = own_address.http('POST', '/v1/models/charrnn:generate_stream', {'prefix': '分', 'length': 1})
    assert (answer.headers['x-accel-buffering'], answer.headers['cache-control']) == ('no', 'no-store')


def test_reader_that_stops_is_disconnected(serve, model_dirs, monkeypatch):
    """Events without end fill all buffers; after the time limit the connection is closed and the slot free."""
    server, address = serve([ModelConfig('m', model_dirs / 'charrnn')], rest_api_timeout_in_ms=200)
    event = {'event': None, 'data': {'text': 'a' * 2**16, 'log_probability': 0.0}}
    monkeypatch.setattr(streaming.Streamer, 'characters', lambda *_: iter(lambda: event, None))
    body = json.dumps({'prefix': '分'}).encode()
    head = f'POST /v1/models/m:generate_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n'
    url = urllib.parse.urlsplit(address.rest)
    with socket.create_connection((url.hostname, url.port), PATIENCE) as reader:
        reader.sendall(head.encode() + body)
        assert reader.recv(15) == b'HTTP/1.1 200 OK'
        deadline = time.monotonic() + PATIENCE
        while server.predictor.in_progress:
            assert time.monotonic() < deadline
    assert server.stop() == 0
