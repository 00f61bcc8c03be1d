"""RemoteModel: its requests to a server, and its errors."""

import base64
import http.client
import json

import pytest

from data.errors import InputError
from export.artifact.text_request import GeneratedText, TextRequest
from export.client.remote import RemoteModel
from tests.export.client.stub_server import send, stub_server

REQUEST = TextRequest('分', 3, temperature=1.5, top_k=9, top_p=0.9, seed=7)
FIELDS = {'prefix': '分', 'length': 3, 'temperature': 1.5, 'top_k': 9, 'top_p': 0.9, 'stop': '', 'seed': 7}
CHARACTER = 'data: {"text": "开"}\n\n'.encode()


@pytest.mark.parametrize(
    ('path', 'model'),
    [
        ('', '/v1/models/charrnn'),
        ('/', '/v1/models/charrnn'),
        ('/v1/models/分', '/v1/models/%E5%88%86'),
        ('/v1/models/other/versions/3', '/v1/models/other/versions/3'),
        ('/v1/models/other/labels/stable/', '/v1/models/other/labels/stable'),
        ('/v1/models/other:predict', '/v1/models/other'),
        ('/v1/models/other/versions/3:generate_stream', '/v1/models/other/versions/3'),
        ('/proxy/path', '/proxy/path/v1/models/charrnn'),
        ('/proxy/v1/models/other', '/proxy/v1/models/other'),
    ],
)
def test_requests_are_rows_of_the_signature_generate_of_the_model_in_the_url(path, model):
    posted = []

    def answer(handler, path, body):
        posted.append((path, json.loads(body)))
        send(handler, 200, '{"predictions": [{"text": "分开", "log_likelihood": -1.5}]}'.encode())

    with stub_server(answer) as url:
        assert RemoteModel(url + path).generate([REQUEST]) == [GeneratedText('分开', -1.5)]
    assert posted == [(f'{model}:predict', {'signature_name': 'generate', 'instances': [FIELDS]})]


@pytest.mark.parametrize(
    'url',
    [
        'localhost:8501',
        'http://localhost:8501/v1/models/',
        'http://localhost:8501/?x=1',
        'http://',
        'http://:8501',
        'http://[::1',
        'http://\u2100',  # in another normal form, its name has a slash
        '',
    ],
)
def test_malformed_url_is_an_error(url):
    with pytest.raises(InputError) as caught:
        RemoteModel(url)
    assert str(caught.value).startswith(f"server='{url}' must be http://host:port or ")
    assert '--server=http://localhost:8501' in str(caught.value)


def test_user_and_password_are_sent_and_not_shown():
    asked = []

    def answer(handler, path, body):
        asked.append(handler.headers['Authorization'])
        send(handler, 401, b'no entry')

    with stub_server(answer) as url, pytest.raises(InputError) as caught:
        RemoteModel(url.replace('://', '://anna:p%40ss@')).generate([REQUEST])
    assert asked == [f'Basic {base64.b64encode(b"anna:p@ss").decode()}']
    assert 'HTTP 401: no entry' in str(caught.value)
    assert 'anna' not in str(caught.value)


def test_loopback_address_is_asked_without_a_proxy(monkeypatch):
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy'):
        monkeypatch.setenv(name, 'http://127.0.0.1:1')
    for name in ('no_proxy', 'NO_PROXY'):
        monkeypatch.delenv(name, raising=False)
    body = '{"predictions": [{"text": "分开", "log_likelihood": -1.5}]}'.encode()
    with stub_server(lambda handler, path, _: send(handler, 200, body)) as url:
        assert RemoteModel(url).generate([REQUEST])
        assert RemoteModel(url.replace('127.0.0.1', 'localhost')).generate([REQUEST])


def test_server_that_does_not_speak_http_is_an_error():
    def answer(handler, path, body):
        handler.wfile.write(b'\x00\x00\x18\x04\x00')  # a SETTINGS frame, as gRPC sends

    with stub_server(answer) as url, pytest.raises(InputError, match=f'^{url} does not answer in HTTP. Is it the gRPC'):
        RemoteModel(url).generate([REQUEST])


def test_unreachable_server_is_an_error():
    with pytest.raises(InputError, match=r'^no server answers at http://127.0.0.1:1 \(.*refused.*-m export.serve'):
        RemoteModel('http://127.0.0.1:1').generate([REQUEST])


@pytest.mark.parametrize(
    ('body', 'message'), [(b'{"error": "no luck"}', 'no luck'), (b'no\nluck', 'no'), (b'', 'Not Found')]
)
def test_error_of_the_server_is_quoted(body, message):
    with (
        stub_server(lambda handler, path, _: send(handler, 404, body)) as url,
        pytest.raises(InputError, match=f'^{url}/v1/models/charrnn:predict answered HTTP 404: {message}$'),
    ):
        RemoteModel(url).generate([REQUEST])


@pytest.mark.parametrize(
    ('broken', 'message'),
    [(http.client.IncompleteRead(b'no luck'), 'no luck'), (ConnectionResetError(), 'Internal Server Error')],
)
def test_error_of_the_server_whose_body_breaks_off_is_quoted_as_far_as_it_came(monkeypatch, broken, message):
    def read(response):
        raise broken

    monkeypatch.setattr(http.client.HTTPResponse, 'read', read)
    with (
        stub_server(lambda handler, path, _: send(handler, 500, b'')) as url,
        pytest.raises(InputError, match=f'^{url}/v1/models/charrnn:predict answered HTTP 500: {message}$'),
    ):
        RemoteModel(url).generate([REQUEST])


@pytest.mark.parametrize(
    'body',
    [
        b'<html>',
        b'{"outputs": 3}',
        b'[]',
        b'{"predictions": [3]}',
        b'[' * 100_000,
        b'{"predictions": []}',
        b'{"predictions": [{"text": "a", "log_likelihood": -1}, {"text": "a", "log_likelihood": -1}]}',
        b'{"predictions": [{"text": 3, "log_likelihood": -1}]}',
        b'{"predictions": [{"text": {"b64": "YQ=="}, "log_likelihood": -1}]}',
        b'{"predictions": [{"text": "a", "log_likelihood": "-1"}]}',
    ],
)
def test_answer_without_texts_is_an_error(body):
    with (
        stub_server(lambda handler, path, _: send(handler, 200, body)) as url,
        pytest.raises(InputError, match=f'^{url}/v1/models/charrnn:predict answered, but not with one text per'),
    ):
        RemoteModel(url).generate([REQUEST])


def test_incomplete_answer_is_an_error():
    def answer(handler, path, body):
        handler.send_response(200)
        handler.send_header('Content-Length', '99')
        handler.end_headers()

    with (
        stub_server(answer) as url,
        pytest.raises(InputError, match=f'^{url}/v1/models/charrnn:predict broke off its answer'),
    ):
        RemoteModel(url).generate([REQUEST])


@pytest.mark.parametrize('code', [400, 404, 405, 501])
def test_stream_is_none_if_the_server_cannot_stream(code):
    with stub_server(lambda handler, path, _: send(handler, code, b'{"error": "Malformed request"}')) as url:
        assert RemoteModel(url).stream(REQUEST) is None


def test_other_errors_of_a_stream_are_quoted():
    with (
        stub_server(lambda handler, path, _: send(handler, 503, b'{"error": "busy"}')) as url,
        pytest.raises(InputError, match=r'charrnn:generate_stream answered HTTP 503: busy$'),
    ):
        RemoteModel(url).stream(REQUEST)


def test_stream_yields_the_characters_until_done():
    posted = []

    def answer(handler, path, body):
        posted.append((path, json.loads(body)))
        send(handler, 200, CHARACTER * 2 + b'event: done\ndata: {"text": "", "log_likelihood": -3}\n\n' + CHARACTER)

    with stub_server(answer) as url:
        assert list(RemoteModel(url).stream(REQUEST)) == ['开', '开']
    assert posted == [('/v1/models/charrnn:generate_stream', FIELDS)]


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (CHARACTER, 'broke off the text.'),
        (CHARACTER + b'event: error\ndata: {"error": "out of luck"}\n\n', 'stopped: out of luck'),
        (CHARACTER + b'data: 3\n\n', 'answered, but not with server-sent events of text.'),
        (CHARACTER + b'data: {\n\n', 'answered, but not with server-sent events of text.'),
        (CHARACTER + b'data: {"text": 3}\n\n', 'answered, but not with server-sent events of text.'),
        (CHARACTER + b'data: {"text": {"b64": "YQ=="}}\n\n', 'answered, but not with server-sent events of text.'),
    ],
)
def test_stream_that_ends_early_is_an_error_after_its_characters(body, message):
    with stub_server(lambda handler, path, _: send(handler, 200, body)) as url:
        characters = RemoteModel(url).stream(REQUEST)
        assert next(characters) == '开'
        with pytest.raises(InputError, match=f'^{url}/v1/models/charrnn:generate_stream {message}$'):
            next(characters)
