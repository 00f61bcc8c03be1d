"""The addresses of a server."""

import errno
import os
import socket

from data.errors import InputError


def listen(host: str, port: int, flag: str) -> socket.socket:
    """Returns a listening TCP socket; port 0: any free port.

    An IPv6 socket for all addresses takes IPv4 connections, too. Raises `InputError`, which names `flag`, if the
    address cannot be used.
    """
    no_address = f'host={host!r} is not an address of this machine: use 127.0.0.1, ::1, 0.0.0.0 for all, or another.'
    if not host:  # would mean all addresses
        raise InputError(no_address)
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    dual = host == '::' and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=dual)
    except OSError as error:
        number = error.errno or 0
        if number == errno.EADDRNOTAVAIL or number < 0:  # the errors of name resolution are negative
            raise InputError(no_address) from error
        raise InputError(
            f'{flag}={port} is not available at {host} ({os.strerror(number)}): use another, or 0 for any.'
        ) from error


def check_free(host: str, port: int, flag: str) -> None:
    """Raises `InputError`, as `listen` does, if the address cannot be used now."""
    listen(host, port, flag).close()
