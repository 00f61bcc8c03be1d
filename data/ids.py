"""The ids of the characters of a text in a vocabulary, looked up when they are read."""

from collections.abc import Callable

import numpy as np

from data.stored_text import StoredText


class Ids:
    """The ids of N characters."""

    def __init__(self, symbols: Callable[[int, int], np.ndarray], length: int, table: np.ndarray):
        """Looks ids up in a table.

        Args:
          symbols: returns the symbols from a start to a stop, both within 0 and N.
          length: N.
          table: `[n] int32`, the id of each symbol.
        """
        self._symbols, self._length, self._table = symbols, length, table

    @classmethod
    def of(cls, ids: np.ndarray) -> 'Ids':
        """Returns `ids`, `[N]` integers, as they are."""
        table = np.arange(ids.max(initial=0) + 1, dtype=np.int32)
        return cls(lambda start, stop: ids[start:stop], len(ids), table)

    @classmethod
    def of_text(cls, text: StoredText, table: np.ndarray) -> 'Ids':
        """Returns the ids of a text, which stays in its file; `table` is `[n] int32`, by symbol."""
        return cls(text.symbols, len(text), table)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: slice) -> np.ndarray:
        """Returns adjoining ids, `int32`."""
        start, stop, _ = index.indices(len(self))
        return self._table[self._symbols(start, max(start, stop))]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """Returns all ids, in memory."""
        return self[:].astype(dtype or np.int32, copy=False)

    def windows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Returns `length` ids from each of `starts`, `[...]`: `[..., length] int32`.

        Places outside the text are filled with arbitrary ids.
        """
        found = np.zeros([*starts.shape, length], np.int32)
        for row, start in zip(found.reshape([-1, length]), starts.ravel().tolist(), strict=True):
            first, last = (min(max(place, 0), len(self)) for place in (start, start + length))
            row[first - start : last - start] = self._symbols(first, last)
        return self._table[found]
