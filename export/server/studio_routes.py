"""The studio: one static page at `/` that generates with this server's models, and what it needs to know of them."""

import pathlib
from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from export.server.servable import Servable

_FOLDER = pathlib.Path(__file__).parent / 'studio'
_TYPES = {
    'index.html': 'text/html',
    'studio.css': 'text/css',
    'studio.js': 'text/javascript',
    'logic.js': 'text/javascript',
    'icon.svg': 'image/svg+xml',
}
_HEADERS = {
    # Nothing from elsewhere, nothing inline, in nobody's frame.
    'Content-Security-Policy': "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
}
_KEYS = ('vocabulary', 'unknown_id', 'default_length', 'limits', 'perplexity', 'corpus', 'config')
"""What the page is told of charrnn.json; that never has weights."""


def routes(available: Callable[[], Iterable[Servable]]) -> list[Route]:
    """`/`, `/studio/<file>` and `/studio/model.json`; `available` gives the versions that are served just now."""

    def models(request: Request) -> Response:
        return JSONResponse({'models': described(available())}, headers=_HEADERS)

    page = Route('/', _file('index.html'))
    return [page, Route('/studio/model.json', models), *(Route(f'/studio/{name}', _file(name)) for name in _TYPES)]


def described(servables: Iterable[Servable]) -> list[dict]:
    """Of each version that can stream, the newest of a model first: how to call it, and what it is."""
    streaming = [s for s in servables if s.description is not None and 'step' in s.signatures]
    found, names = [], set()
    for servable in sorted(streaming, key=lambda s: (s.name, -s.version)):
        newest = servable.name not in names
        names.add(servable.name)
        found.append(
            {
                'label': servable.name if newest else f'{servable.name} version {servable.version}',
                'path': f'v1/models/{servable.name}' + ('' if newest else f'/versions/{servable.version}'),
                'version': servable.version,
            }
            | {key: servable.description.get(key) for key in _KEYS}
        )
    return found


def _file(name: str) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        content = (_FOLDER / name).read_bytes()
        return Response(content, headers=_HEADERS | {'Content-Type': f'{_TYPES[name]}; charset=utf-8'})

    return respond
