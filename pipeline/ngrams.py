"""Numbers the n-grams of a text."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

ABSENT = -1


class Ngrams(NamedTuple):
    """The n-grams of k characters of a text of N characters. The id of an n-gram is its index in `keys`."""

    keys: np.ndarray
    """`[n] int64`, ascending: V times the id of the first k - 1 characters, plus the last character."""
    before: np.ndarray
    """`[N + 1] int64`: the n-gram that ends before each position, and the last one; `ABSENT` for the first k."""
    first: np.ndarray
    """`[n] int64`: the first position in `before` of each n-gram."""


def numbered(ids: np.ndarray, vocabulary_size: int, longest: int) -> Iterator[Ngrams]:
    """Yields the n-grams of `ids`, `[N] int32`, of 0 to `longest` characters; N is `longest` or more."""
    found = Ngrams(np.zeros(1, np.int64), np.zeros(len(ids) + 1, np.int64), np.zeros(1, np.int64))
    yield found
    for k in range(1, longest + 1):
        ends = found.before[k - 1 : -1] * vocabulary_size + ids[k - 1 :]
        keys, first, inverse = np.unique(ends, return_index=True, return_inverse=True)
        found = Ngrams(keys, np.concatenate([np.full(k, ABSENT), inverse]), first + k)
        yield found
