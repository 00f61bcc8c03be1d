"""The end of a server: constants that both protocols share, and a port that refuses without cutting anyone off.

A client whose connection the kernel has accepted may send its request a moment later. So the server first stops new
connections, then still answers for a moment, and only then closes the connections.
"""

import contextlib
import ctypes
import socket
import struct

ACCEPTING = 0.1
"""Seconds in which the server takes up connections and calls that clients made before it refused new ones."""
LINGER = 1.0
"""Seconds in which open connections may still send a request, and clients receive their last answers."""
POLL = 0.02
"""Seconds between checks for open connections and calls."""

_SO_ATTACH_FILTER, _BPF_RETURN = 26, 6  # Linux's numbers, which Python's socket module lacks


def refuse_connections(listening: socket.socket) -> None:
    """Refuses new connections. Closing the socket instead would reset those that the kernel has already accepted."""
    nothing_passes = ctypes.create_string_buffer(struct.pack('HBBI', _BPF_RETURN, 0, 0, 0))
    program = struct.pack('HP', 1, ctypes.addressof(nothing_passes))
    with contextlib.suppress(OSError):  # a sandbox without filters: such a connection may be reset
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
