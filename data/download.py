"""Downloads a URL into the data home, once, and checks what came."""

import contextlib
import dataclasses
import hashlib
import http.client
import os
import pathlib
import re
import string
import sys
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from data.errors import InputError
from data.files import aside
from data.progress import Progress

_CHUNK = 1 << 16  # bytes
_TIMEOUT = 30  # seconds without a byte
_LONGEST_NAME = 60  # characters: file systems take 255 bytes
_HTML = re.compile(rb'\s*<(!doctype\s+html|html)\b', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file on the web: its URL, its local name, and `(algorithm, hex digest)` if known."""

    url: str
    filename: str
    digest: tuple[str, str] | None = None


def data_home() -> pathlib.Path:
    """Returns `$CHARRNN_DATA_HOME`; the default is `~/.cache/charrnn`.

    Raises:
      InputError: the home directory is unknown, as for a container's user without a name.
    """
    folder = os.environ.get('CHARRNN_DATA_HOME') or '~/.cache/charrnn'
    try:
        return pathlib.Path(folder).expanduser()
    except RuntimeError as error:
        raise InputError(
            f'a downloaded corpus is kept in {folder}, but the home directory is unknown: set CHARRNN_DATA_HOME to a '
            f'folder.'
        ) from error


def remote_from_url(url: str) -> Remote:
    """Returns the file at `url`; its local name contains a hash of the URL, so that two URLs never share a file.

    Raises:
      InputError: `url` is malformed.
    """
    try:
        path = urllib.parse.urlparse(url).path
    except ValueError as error:
        raise InputError(f'{url!r} is not a URL: {error}.') from error
    name = pathlib.PurePosixPath(urllib.parse.unquote(path)).name[-_LONGEST_NAME:] or 'index.txt'
    ascii_url = urllib.parse.quote(url, safe=string.punctuation)
    return Remote(ascii_url, f'{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}')


def fetch(remote: Remote, check: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Returns the local copy of `remote`; downloads it first if the data home does not have it.

    A file whose digest is known is fetched from the first of the mirrors in `$CHARRNN_MIRRORS` that has it, else from
    its own URL. Each mirror is the URL of a folder; blanks separate them.

    Args:
      remote: the file.
      check: raises `InputError` if a downloaded file cannot be used; such a file is not kept.

    Raises:
      InputError: the file cannot be fetched, written or used, or its digest is not the known one.
    """
    path = data_home() / remote.filename
    try:
        exists = path.exists()
        mismatch = _mismatch(remote, path) if exists else None
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}. Delete it to fetch it again.') from error
    if mismatch:
        raise InputError(f'{mismatch} Delete {path} to fetch it again.')
    if not exists:
        _download_first(_sources(remote), path, check)
    return path


def _sources(remote: Remote) -> list[Remote]:
    mirrors = os.environ.get('CHARRNN_MIRRORS', '').split() if remote.digest else []
    urls = [f'{mirror.rstrip("/")}/{remote.filename}' for mirror in mirrors]
    return [*(dataclasses.replace(remote, url=url) for url in urls), remote]


def _download_first(sources: list[Remote], path: pathlib.Path, check: Callable[[pathlib.Path], None]) -> None:
    """Downloads from the first source that works; says why the others do not. Raises the `InputError` of the last."""
    *mirrors, origin = sources
    for mirror in mirrors:
        try:
            return _download(mirror, path, check)
        except InputError as error:
            print(f'{error} Trying the next source.', file=sys.stderr)
    _download(origin, path, check)


def _download(remote: Remote, path: pathlib.Path, check: Callable[[pathlib.Path], None]) -> None:
    """Downloads to a temporary file, checks it and renames it: `path` is never incomplete or unusable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as part:  # `check` reads its suffix
            with part.open('wb') as file:
                _copy(remote.url, file)
            _check(remote, part, check)
            part.replace(path)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zlib.error, http.client.HTTPException) as error:
        reason = ' '.join(str(error).split())
        raise InputError(
            f'cannot fetch {remote.url} into {path}: {reason}. Put the file there by hand, or set CHARRNN_DATA_HOME to '
            f'a folder that holds {remote.filename}.'
        ) from error


def _check(remote: Remote, part: pathlib.Path, check: Callable[[pathlib.Path], None]) -> None:
    """Raises `InputError` if a downloaded file is not the known one, is an HTML page or is refused by `check`."""
    problem = _mismatch(remote, part)
    with part.open('rb') as file:
        if not problem and _HTML.match(file.read(_CHUNK)):
            problem = (
                f'{remote.url} is an HTML page, perhaps a login or an error page: give the URL of a text, .zip or .gz.'
            )
    if problem:
        raise InputError(f'{problem} Nothing was kept; run the same command to fetch it again.')
    try:
        check(part)
    except InputError as error:
        reason = str(error).replace(str(part), remote.url)
        raise InputError(f'{reason} Nothing was kept; run the same command to fetch it again.') from error


def _copy(url: str, target) -> None:
    request = urllib.request.Request(url, headers={'Accept-Encoding': 'identity'})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        size = int(response.headers.get('Content-Length') or 0)
        print(f'downloading {url}' + (f' ({size:,} bytes)' if size else ''), flush=True)
        if charset := response.headers.get_content_charset():
            print(f'the server says that its encoding is {charset}', flush=True)
        # Some servers compress although the request does not ask for it.
        compressed = response.headers.get('Content-Encoding', '').lower() in ('gzip', 'x-gzip')
        chunks = _chunks(response, size)
        for chunk in _unpacked(chunks) if compressed else chunks:
            target.write(chunk)


def _chunks(response: IO[bytes], size: int) -> Iterator[bytes]:
    """Yields a body and shows the progress. Raises `OSError` if it does not have `size` bytes; 0: unknown."""
    done = 0
    with contextlib.closing(Progress('downloading', size)) as progress:
        while chunk := response.read(_CHUNK):
            yield chunk
            done += len(chunk)
            progress.update(done)
    if size and done != size:
        raise OSError(f'the connection closed after {done:,} of {size:,} bytes')


def _unpacked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the content of all gzip members. Raises `OSError` if the last one is incomplete."""
    unpack = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        while chunk:
            yield unpack.decompress(chunk)
            chunk = unpack.unused_data.lstrip(b'\0')  # zeros may follow a member
            if chunk:
                unpack = zlib.decompressobj(wbits=31)
    if not unpack.eof:
        raise OSError('the compressed body is incomplete')


def _mismatch(remote: Remote, path: pathlib.Path) -> str | None:
    """Returns an error message if the digest of `path` is not the known one."""
    if not remote.digest:
        return None
    algorithm, expected = remote.digest
    with path.open('rb') as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found == expected:
        return None
    return (
        f'{remote.filename} from {remote.url} is not the known file: its {algorithm} is {found}; it must be {expected}.'
    )
