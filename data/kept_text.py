"""Keeps long texts, once encoded, in the data home, where the next run on the same bytes finds them."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil
import sys
from collections.abc import Iterator

import filelock

from data import stored_text
from data.download import data_home
from data.errors import InputError
from data.source import LONG, Source
from data.stored_text import StoredText

_BLOCK = 1 << 20  # bytes


def load(source: Source) -> StoredText:
    """Returns the text of files: encoded now, or found.

    The folder of a kept text is named by the hash of the files and of the settings that affect the text. It appears
    whole or not at all, and one process at a time writes it.

    Raises:
      InputError: the source cannot be read, or its files change meanwhile.
    """
    if source.num_bytes < LONG or 0 < source.reading.max_characters < LONG:
        return stored_text.temporary(source)
    source.must_not_change()
    try:
        folder = _home() / _key(source)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix('.lock')):
            if not stored_text.is_stored(folder):
                _write(folder, source)
            return stored_text.read(folder)
    except OSError as error:
        print(f'warning: the encoded text cannot be kept, so each start encodes it again: {error}', file=sys.stderr)
        return stored_text.temporary(source)


def _home() -> pathlib.Path:
    """Returns the folder of all kept texts. Raises `OSError` if the home directory is unknown."""
    try:
        return data_home() / 'encoded'
    except InputError as error:
        raise OSError(str(error)) from error


def _write(folder: pathlib.Path, source: Source) -> None:
    print(f'encodes the text once and keeps it in {folder}', flush=True)
    prefix = f'.{folder.name}.'
    for left in folder.parent.glob(f'{prefix}*'):  # of processes that were killed while they held the lock
        shutil.rmtree(left, ignore_errors=True)
    stored_text.create(folder, source, prefix)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Holds a lock that the system releases when the process dies; says so if another process holds it."""
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print('another process encodes this text: waits for it', flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _key(source: Source) -> str:
    """Returns the SHA-256 of all that the text depends on, in hexadecimal digits."""
    settings = dataclasses.asdict(source.reading)
    digest = hashlib.sha256()
    read = {name: settings[name] for name in ('encoding', 'encoding_errors', 'newlines', 'max_characters')}
    suffixes = [path.suffix.lower() for path in source.paths]  # a file that is named .zip must be one
    digest.update(json.dumps([stored_text.FORMAT, read, source.member, suffixes]).encode())
    for path in source.paths:
        digest.update(f'\0{path.stat().st_size}\0'.encode())
        with path.open('rb') as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
