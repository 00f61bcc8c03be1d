"""Long texts and arrays in pieces, so that what a step takes beside them stays small."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np

_SIZE = 1 << 20  # characters or numbers

Values = TypeVar('Values', str, np.ndarray)


def chunks(values: Values) -> Iterator[Values]:
    """Yields the pieces of `values` in order."""
    for start in range(0, len(values), _SIZE):
        yield values[start : start + _SIZE]
