"""A text of any size in a file, one number per character, that is read in pieces.

It is not mapped into memory: the system then counts all that was read as resident, up to the whole file.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from data.errors import InputError
from data.files import aside, write_whole

_HEADER, _SYMBOLS = 'text.json', 'symbols.bin'
_PIECE = 1 << 20  # characters
_LARGEST_READ = 1 << 30  # bytes: Linux reads at most 2 GiB at once
FORMAT = 1
"""Of the files."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of a text beside its characters."""

    characters: str
    """The n distinct characters in the order of their first occurrence. The symbol of a character is its index."""
    counts: tuple[int, ...]
    """Occurrences of each, by symbol."""
    sha256: str
    """Of the text in UTF-8."""
    num_documents: int
    """From which it was made."""
    newlines: str
    """How line breaks were read, one of `reading.NEWLINES`."""

    @property
    def length(self) -> int:
        """Characters."""
        return sum(self.counts)

    @property
    def dtype(self) -> type[np.integer]:
        """The smallest integer type that holds all symbols."""
        return smallest_dtype(len(self.characters))


@dataclasses.dataclass(frozen=True, eq=False)
class StoredText:
    """A text, or a slice of one."""

    header: Header
    """Of the whole text."""
    start: int
    stop: int
    _file: '_File'

    def __len__(self) -> int:
        """Returns the number of characters."""
        return self.stop - self.start

    def __getitem__(self, index: slice) -> 'StoredText':
        first, last, _ = index.indices(len(self))
        return dataclasses.replace(self, start=self.start + first, stop=self.start + max(first, last))

    def __str__(self) -> str:
        """Returns all characters."""
        return ''.join(self.strings())

    @property
    def sha256(self) -> str:
        """The SHA-256 of the text in UTF-8."""
        if len(self) == self.header.length:
            return self.header.sha256
        digest = hashlib.sha256()
        self.add_to(digest)
        return digest.hexdigest()

    def add_to(self, digest: 'hashlib._Hash') -> None:
        """Adds the text in UTF-8 to a hash."""
        for string in self.strings():
            digest.update(string.encode())

    def is_followed_by(self, other: 'StoredText') -> bool:
        """Returns whether `other` begins where this slice ends, in the same text."""
        return self._file is other._file and self.stop == other.start

    def symbols(self, start: int, stop: int) -> np.ndarray:
        """Returns the symbols from `start` to `stop`, within the slice: `[stop - start]` integers."""
        return self._file.read(self.start + start, self.start + stop)

    def pieces(self) -> Iterator[np.ndarray]:
        """Yields the symbols in order."""
        yield from self._file.pieces(self.start, self.stop)

    def strings(self) -> Iterator[str]:
        """Yields the characters in order."""
        points = code_points(self.header.characters)
        for piece in self.pieces():
            yield points[piece].tobytes().decode('utf-32-le')

    def count(self, character: str) -> int:
        """Returns the occurrences of a character."""
        symbol = self.header.characters.find(character)
        return int(self.counts()[symbol]) if symbol >= 0 else 0

    def counts(self) -> np.ndarray:
        """Returns the occurrences of each symbol, `[n] int64`; reads the slice, or the rest if that is shorter."""
        if len(self) <= self.header.length // 2:
            return self._count(self.start, self.stop)
        rest = self._count(0, self.start) + self._count(self.stop, self.header.length)
        return np.array(self.header.counts, np.int64) - rest

    def _count(self, start: int, stop: int) -> np.ndarray:
        counts = np.zeros(len(self.header.characters), np.int64)
        for piece in self._file.pieces(start, stop):
            counts += np.bincount(piece, minlength=len(counts))
        return counts


class _File:
    """An open file of symbols, closed with its last reader."""

    def __init__(self, path: pathlib.Path, dtype: type[np.integer]):
        self._dtype, self._number = np.dtype(dtype), os.open(path, os.O_RDONLY)

    def __del__(self, close: Callable[[int], None] = os.close):  # the module may be gone when the process ends
        close(self._number)

    def read(self, start: int, stop: int) -> np.ndarray:
        size = self._dtype.itemsize
        if (stop - start) * size > _LARGEST_READ:
            return np.concatenate(list(self.pieces(start, stop)))
        return np.frombuffer(os.pread(self._number, (stop - start) * size, start * size), self._dtype)

    def pieces(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for first in range(start, stop, _PIECE):
            yield self.read(first, min(first + _PIECE, stop))


def is_stored(folder: pathlib.Path) -> bool:
    """Returns whether `folder` holds a text that `create` made."""
    return (folder / _HEADER).is_file() and (folder / _SYMBOLS).is_file()


def read(folder: pathlib.Path) -> StoredText:
    """Opens the text in `folder`. Raises `InputError` if it is damaged or cannot be read."""
    try:
        content = json.loads((folder / _HEADER).read_text('utf-8'))
        if content.pop('format') != FORMAT:
            raise InputError(f'{folder} is of another version of charrnn: delete it and encode the text again.')
        header = Header(**content | {'counts': tuple(content['counts'])})
        if (folder / _SYMBOLS).stat().st_size != header.length * np.dtype(header.dtype).itemsize:
            raise InputError(f'{folder / _SYMBOLS} is damaged: delete {folder} and encode the text again.')
        file = _File(folder / _SYMBOLS, header.dtype)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{folder} cannot be read: {error!r}. Delete it and encode the text again.') from error
    return StoredText(header, 0, header.length, file)


class Source(Protocol):
    """A text in pieces, from its start to its end."""

    newlines: str
    """How line breaks are read."""
    num_documents: int
    """From which the text was made; known when the last piece has been read."""

    def __iter__(self) -> Iterator[str]: ...


def create(folder: pathlib.Path, source: Source, prefix: str = '.') -> None:
    """Writes a text to a new folder, which appears whole or not at all. See `files.aside` for `prefix`.

    Raises:
      OSError: it cannot be written.
      InputError: the source cannot be read.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with aside(folder, prefix) as part:
        part.mkdir()
        _write(part, source)
        part.rename(folder)


def _write(folder: pathlib.Path, source: Source) -> None:
    with contextlib.closing(_Writer(folder / _SYMBOLS)) as writer:
        for text in source:
            writer.add(text)
    header = writer.header(source.num_documents, source.newlines)
    write_whole(folder / _HEADER, json.dumps({'format': FORMAT} | dataclasses.asdict(header), ensure_ascii=False))


def temporary(source: Source) -> StoredText:
    """Returns a text whose file is deleted with the process.

    Raises:
      InputError: the source cannot be read, or the directory of temporary files cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix='charrnn-') as name:
            folder = pathlib.Path(name)
            _write(folder, source)
            return read(folder)  # an open file outlives its name
    except OSError as error:
        raise InputError(
            f'the text cannot be encoded into a temporary file: {error}. Set TMPDIR to a directory with more room.'
        ) from error


class _Writer:
    """Writes the symbols of a text to a file and counts them."""

    def __init__(self, path: pathlib.Path):
        self._path, self._file = path, path.open('wb')
        self._characters: list[str] = []
        self._symbol_of = np.full(sys.maxunicode + 1, -1, np.int32)
        self._counts = np.zeros(0, np.int64)
        self._digest = hashlib.sha256()
        self._dtype = smallest_dtype(0)

    def close(self) -> None:
        self._file.close()

    def add(self, text: str) -> None:
        points = code_points(text)
        symbols = self._symbol_of[points]
        if (is_new := symbols < 0).any():
            found, first = np.unique(points[is_new], return_index=True)
            new = found[np.argsort(first)]
            self._symbol_of[new] = len(self._characters) + np.arange(len(new))
            self._characters.extend(map(chr, new))
            symbols = self._symbol_of[points]
            self._widen(smallest_dtype(len(self._characters)))
        counts = np.bincount(symbols, minlength=len(self._characters))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._digest.update(text.encode())
        self._file.write(symbols.astype(self._dtype).data)

    def header(self, num_documents: int, newlines: str) -> Header:
        counts = tuple(self._counts.tolist())
        return Header(''.join(self._characters), counts, self._digest.hexdigest(), num_documents, newlines)

    def _widen(self, dtype: type[np.integer]) -> None:
        """Writes the symbols so far again, in `dtype`, if that is another type."""
        if dtype is self._dtype:
            return
        self._file.close()
        narrow = self._path.with_suffix('.narrow')
        self._path.rename(narrow)
        self._file = self._path.open('wb')
        with narrow.open('rb') as file:
            while len(piece := np.fromfile(file, self._dtype, _PIECE)):
                self._file.write(piece.astype(dtype).data)
        narrow.unlink()
        self._dtype = dtype


def smallest_dtype(size: int) -> type[np.integer]:
    """Returns the smallest type of the integers from 0 to `size - 1`."""
    return np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.int32


def code_points(text: str) -> np.ndarray:
    """Returns the code point of each character, `[len(text)] uint32`."""
    return np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), dtype='<u4')
