"""Reads the bodies of requests, within limits."""

import asyncio
import gzip
import io
import zlib

from starlette.requests import Request

from export.server import errors
from export.server.errors import BodyTooLargeError, ServingError

_MOST_DISCARDED = 8  # times the limit: read and discarded, so that the client reads the answer


async def read(request: Request, most: int) -> bytes:
    """Returns the body, unpacked if it is gzip.

    Raises:
      ServingError: it has more than `most` bytes, packed or unpacked, or its Content-Encoding cannot be read.
    """
    encoding = request.headers.get('content-encoding', 'identity').strip().lower()
    if encoding not in ('gzip', 'x-gzip', 'identity'):
        raise errors.invalid(f'Content-Encoding {encoding!r} is not supported: use gzip, or send the body as it is.')
    kept, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            kept += chunk
        elif size > _MOST_DISCARDED * most:
            break
    if size > most:
        raise _too_large(most)
    return bytes(kept) if encoding == 'identity' else await asyncio.to_thread(unpacked, bytes(kept), most)


def unpacked(body: bytes, most: int) -> bytes:
    """Returns the content of gzip data with one or more members. Raises `ServingError` as `read` does."""
    try:
        found = gzip.GzipFile(fileobj=io.BytesIO(body)).read(most + 1)
    except EOFError as error:
        raise errors.invalid('the body is cut off: its gzip data has no end') from error
    except (OSError, zlib.error) as error:
        raise errors.invalid(f'the body is not gzip, as its Content-Encoding says: {error}') from error
    if len(found) > most:
        raise _too_large(most)
    return found


def _too_large(most: int) -> ServingError:
    return BodyTooLargeError(f'the body has more than {most} bytes, the limit of this server (--max_body_bytes).')
