"""Downloads a URL into the data home, once, and checks its digest."""

import contextlib
import dataclasses
import hashlib
import http.client
import os
import pathlib
import string
import sys
import urllib.parse
import urllib.request

from data.errors import InputError

_CHUNK = 1 << 16  # bytes
_TIMEOUT = 30  # seconds without a byte
_LONGEST_NAME = 60  # characters: file systems take 255 bytes


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file on the web: its URL, its local name, and `(algorithm, hex digest)` if known."""

    url: str
    filename: str
    digest: tuple[str, str] | None = None


def data_home() -> pathlib.Path:
    """Returns `$CHARRNN_DATA_HOME`; the default is `~/.cache/charrnn`."""
    return pathlib.Path(os.environ.get('CHARRNN_DATA_HOME') or '~/.cache/charrnn').expanduser()


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


def fetch(remote: Remote) -> pathlib.Path:
    """Returns the local copy of `remote`; downloads it first if the data home does not have it.

    Raises:
      InputError: the file cannot be fetched or written, or its digest is not the known one.
    """
    path = data_home() / remote.filename
    if not path.exists():
        _download(remote, path)
    elif mismatch := _mismatch(remote, path):
        raise InputError(f'{mismatch} Delete {path} to fetch it again.')
    return path


def _download(remote: Remote, path: pathlib.Path) -> None:
    """Downloads to a temporary file, checks it and renames it: `path` is never incomplete."""
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open('wb') as file:
            _copy(remote.url, file)
        if mismatch := _mismatch(remote, part):
            raise InputError(f'{mismatch} Nothing was kept; try again.')
        part.replace(path)
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            f'cannot fetch {remote.url} into {path}: {error}. Put the file there by hand, or set CHARRNN_DATA_HOME to '
            f'a folder that holds {remote.filename}.'
        ) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            part.unlink()


def _copy(url: str, target) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        size = int(response.headers.get('Content-Length') or 0)
        print(f'downloading {url}' + (f' ({size:,} bytes)' if size else ''), flush=True)
        bar = _bar(size) if sys.stdout.isatty() else None
        done = 0
        while chunk := response.read(_CHUNK):
            target.write(chunk)
            done += len(chunk)
            if bar:
                bar.update(done, finalize=done == size)
        if size and done != size:
            raise OSError(f'the connection closed after {done:,} of {size:,} bytes')


def _bar(size: int):
    """Returns a progress bar over `size` bytes; 0: unknown."""
    from keras.utils import Progbar  # imports TensorFlow, which takes seconds

    return Progbar(size or None, unit_name='byte')


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
