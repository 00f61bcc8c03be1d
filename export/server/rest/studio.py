"""The studio: a static page at `/` that generates with the models of this server, and their descriptions."""

import contextlib
import pathlib
import urllib.parse
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from export.server.errors import ServingError
from export.server.models import example
from export.server.models.manager import Manager
from export.server.models.servable import Servable
from export.server.predictor import specification

_FOLDER = pathlib.Path(__file__).parent / 'studio'
_TYPES = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml'}
_HEADERS = {
    # Only files of this server, no inline code, no frames.
    'Content-Security-Policy': "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
}
_KEYS = ('vocabulary', 'unknown_id', 'default_length', 'limits', 'perplexity', 'corpus', 'config')
"""Keys of charrnn.json that the page gets."""


def routes(manager: Manager) -> list[Route]:
    """Returns the routes of `/`, `/studio/<file>` and `/studio/model.json`, which lists the available models.

    `/studio` leads to `/` by a relative location, which is right behind a reverse proxy's path, too.
    """

    def models(request: Request) -> Response:
        found = [one for name in manager.names for one in described(manager, name)]
        return JSONResponse({'models': found}, headers=_HEADERS)

    page = Route('/', _file(_FOLDER / 'index.html'))
    moved = [
        Route('/studio', lambda request: RedirectResponse('./')),
        Route('/studio/', lambda request: RedirectResponse('../')),
    ]
    files = [Route(f'/studio/{path.name}', _file(path)) for path in _FOLDER.iterdir()]
    return [page, *moved, Route('/studio/model.json', models), *files]


def described(manager: Manager, name: str) -> list[dict]:
    """Describes the versions of a model that can stream, the newest first, and how to call them."""
    found, newest = [], True
    for version in reversed(manager.available(name)):
        with contextlib.suppress(ServingError), manager.lease(specification(name, version)) as servable:
            if servable.can_stream:
                found.append(_description(servable, newest))
        newest = False
    return found


def _description(servable: Servable, newest: bool) -> dict:
    path = f'v1/models/{urllib.parse.quote(servable.name, safe="")}'
    return {
        'label': servable.name if newest else f'{servable.name} version {servable.version}',
        'path': path if newest else f'{path}/versions/{servable.version}',
        'version': servable.version,
        'example': example.text(servable.description),
    } | {key: _public(key, servable.description.get(key)) for key in _KEYS}


def _public(key: str, value: Any) -> Any:
    """Returns a value of charrnn.json for visitors, without paths of the machine that trained the model."""
    if key == 'corpus' and value:
        return {'name': pathlib.PurePath(value['name']).name}
    if key == 'config' and value:
        return {setting: value[setting] for setting in ('cell', 'hidden_size')}
    return value


def _file(path: pathlib.Path) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        headers = _HEADERS | {'Content-Type': f'{_TYPES[path.suffix]}; charset=utf-8'}
        return Response(path.read_bytes(), headers=headers)

    return respond
