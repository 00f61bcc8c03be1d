"""Refuses foreign host names: a web page could point its own name at a loopback address (DNS rebinding)."""

import ipaddress
import urllib.parse
from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class HostCheck:
    """An ASGI application that answers requests for localhost, addresses and allowed names, and refuses others.

    Starlette's TrustedHostMiddleware compares names alone: it cannot allow all addresses, and cuts `[::1]` at a colon.
    """

    def __init__(self, application: ASGIApp, allowed: Collection[str]):
        self._application = application
        self._allowed = {name.lower() for name in allowed} | {'localhost'}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Request(scope).headers.get('host', '') if scope['type'] == 'http' else ''
        if not host or self._allows(host):
            return await self._application(scope, receive, send)
        message = f'the host {host!r} is not allowed: start the server with --allowed_hosts={_name(host) or "NAME"}.'
        await JSONResponse({'error': message}, 403)(scope, receive, send)

    def _allows(self, host: str) -> bool:
        name = _name(host)
        return name in self._allowed or _is_address(name)


def is_loopback(address: str) -> bool:
    """Returns whether a server that listens on this IP address can be reached from this machine only."""
    parsed = ipaddress.ip_address(address)
    return (getattr(parsed, 'ipv4_mapped', None) or parsed).is_loopback


def _name(host: str) -> str:
    """Returns the name or address in a Host header, without the port; '' if it is malformed."""
    try:
        return (urllib.parse.urlsplit(f'//{host}').hostname or '').removesuffix('.')
    except ValueError:
        return ''


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
