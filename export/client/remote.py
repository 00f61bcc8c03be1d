"""A model behind TensorFlow Serving's REST API. Uses only the standard library."""

import base64
import dataclasses
import http.client
import ipaddress
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from data.errors import InputError
from export.artifact.text_request import GeneratedText, Request, TextRequest

_URL = re.compile(
    r'(?P<scheme>https?://)((?P<user>[^/?#\s@]*)@)?(?P<host>[^/?#\s@]+)(?P<path>(/(?!v1/models/)[^/?#\s]+)*)/*'
    r'(?P<model>v1/models/[^/:?#\s]+(/(versions|labels)/[^/:?#\s]+)?)?(:predict|:generate_stream)?/?'
)
_DEFAULT_MODEL = 'v1/models/charrnn'
_TIMEOUT = 600  # seconds without a byte
_NO_STREAMING = (400, 404, 405, 501)
"""Answers of servers without `:generate_stream`. If 400 means a refused value, `:predict` refuses it again."""
_NOT_AS_EXPECTED = (ValueError, KeyError, TypeError, RecursionError)  # the last: JSON of too many levels


class RemoteModel:
    """One model of a server, at `http://[user:password@]host:port[/path][/v1/models/NAME[/versions/N]]`.

    NAME defaults to charrnn. The path is that of a reverse proxy. The URL of a method, as in `:predict`, works, too.
    Methods raise `InputError` if the server cannot be reached, refuses a request, or does not answer with texts.
    """

    def __init__(self, url: str):
        found = _URL.fullmatch(url)
        if found is None or (host := _host_name(found['host'])) is None:
            raise InputError(
                f'server={url!r} must be http://host:port or http://host:port/v1/models/NAME[/versions/N], such as '
                f'--server=http://localhost:8501.'
            )
        self._root = f'{found["scheme"]}{found["host"]}{found["path"]}'
        self._headers = {'Content-Type': 'application/json'}
        if found['user'] is not None:
            credentials = urllib.parse.unquote(found['user']).encode()
            self._headers['Authorization'] = f'Basic {base64.b64encode(credentials).decode()}'
        # A proxy cannot reach the loopback address of this machine.
        proxies: dict[str, str] | None = {} if _is_loopback(host) else None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        path = urllib.parse.quote(found['model'] or _DEFAULT_MODEL, safe='/%')
        self._model = f'{self._root}/{path}'

    def generate(self, requests: Sequence[Request]) -> list[GeneratedText]:
        """Returns a text per request, from one call of their signature."""
        body = {
            'signature_name': requests[0].signature,
            'instances': [dataclasses.asdict(request) for request in requests],
        }
        url = f'{self._model}:predict'
        with self._post(url, body) as response:
            try:
                return _texts(json.load(response), len(requests))
            except _NOT_AS_EXPECTED as error:
                raise InputError(
                    f'{url} answered, but not with one text per request: is it a model of this project?'
                ) from error
            except (OSError, http.client.HTTPException) as error:
                raise InputError(f'{url} broke off its answer: {error}') from error

    def stream(self, request: TextRequest) -> Iterator[str] | None:
        """Yields the added characters as the server generates them. Returns None if the server cannot stream."""
        url = f'{self._model}:generate_stream'
        try:
            response = self._post(url, dataclasses.asdict(request))
        except _HttpError as error:
            if error.code in _NO_STREAMING:
                return None
            raise
        return _added_characters(url, response)

    def _post(self, url: str, body: dict) -> http.client.HTTPResponse:
        data = json.dumps(body, ensure_ascii=False).encode('utf-8', 'surrogatepass')
        request = urllib.request.Request(url, data, self._headers)
        try:
            return self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            raise _HttpError(url, error) from error
        except http.client.BadStatusLine as error:
            raise InputError(
                f'{self._root} does not answer in HTTP. Is it the gRPC port of the server? Give the REST port: 8501, '
                f'unless it was set.'
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, 'reason', error)
            raise InputError(
                f'no server answers at {self._root} ({reason}). Start one with: python -m export.serve'
            ) from error


def _host_name(address: str) -> str | None:
    """Returns the host in `host:port`; None if there is none or `urllib` refuses it, such as `[::1`."""
    try:
        return urllib.parse.urlsplit(f'//{address}').hostname
    except ValueError:
        return None


def _texts(answer: Any, count: int) -> list[GeneratedText]:
    """Returns the rows of an answer. Raises ValueError, KeyError or TypeError unless they are `count` texts."""
    texts = [GeneratedText(_string(row['text']), row['log_likelihood']) for row in answer['predictions']]
    if len(texts) != count or not all(isinstance(text.log_likelihood, int | float) for text in texts):
        raise ValueError
    return texts


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


class _HttpError(InputError):
    """An HTTP error from the server, with the server's own message."""

    def __init__(self, url: str, error: urllib.error.HTTPError):
        self.code = error.code
        body = _body(error).decode('utf-8', 'replace')
        try:
            message = json.loads(body)['error']
        except _NOT_AS_EXPECTED:
            message = body.strip().partition('\n')[0] or error.reason
        super().__init__(f'{url} answered HTTP {error.code}: {message}')


def _body(error: urllib.error.HTTPError) -> bytes:
    """Returns the body of an HTTP error; if the connection breaks, what has arrived of it if that is known."""
    try:
        return error.read()
    except (OSError, http.client.HTTPException) as broken:
        return getattr(broken, 'partial', b'')


def _added_characters(url: str, response: http.client.HTTPResponse) -> Iterator[str]:
    with response:
        try:
            for event, data in events(response):
                if event == 'done':
                    return
                if event == 'error':
                    raise InputError(f'{url} stopped: {data["error"]}')
                yield _string(data['text'])
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f'{url} broke off the text: {error}') from error
        except _NOT_AS_EXPECTED as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f'{url} answered, but not with server-sent events of text.') from error
    raise InputError(f'{url} broke off the text.')


def events(lines: Iterable[bytes]) -> Iterator[tuple[str, dict]]:
    """Yields the server-sent events in the lines of a stream: name (default `message`) and JSON data."""
    name, data = 'message', ''
    for line in lines:
        field, _, value = line.decode('utf-8').rstrip('\r\n').partition(':')
        if field == 'event':
            name = value.removeprefix(' ')
        elif field == 'data':
            data += value.removeprefix(' ')
        elif not field and not value and data:
            yield name, json.loads(data)
            name, data = 'message', ''
