"""A character n-gram model with interpolated modified Kneser-Ney smoothing, a baseline that counts.

Chen and Goodman (1998), "An Empirical Study of Smoothing Techniques for Language Modeling", section 3:

  p_k(c | h) = (n(hc) - D(n(hc))) / n(h) + g(h) p_{k-1}(c | h'),  p_0 = 1 / V

The context h has k - 1 characters, and h' is h without the first. n(h) is the sum of n(hc) over all c. For the highest
order, n(hc) is the number of times that hc occurs; for lower orders, the number of distinct characters that occur
before hc. D takes one of three values, for counts of 1, of 2 and of 3 or more; each order has its own. g(h) n(h) is the
sum of the discounts of h. A context that the text does not have leaves p_{k-1} unchanged.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from pipeline.ngrams import ABSENT, Ngrams


@dataclasses.dataclass(frozen=True)
class _Order:
    """The n-grams of one length. The id of an n-gram is its index in `keys`; the id of the empty context is 0."""

    keys: np.ndarray
    """`[n] int64`, ascending: V times the id of the context h, plus c."""
    discounted: np.ndarray
    """`[n] float64`, n(hc) - D(n(hc)), by n-gram."""
    totals: np.ndarray
    """`[m] float64`, n(h), by context; 0 if nothing follows h."""
    discounts: np.ndarray
    """`[m] float64`, g(h) n(h), by context."""


class KneserNey:
    """An n-gram model of one text."""

    def __init__(self, ngrams: Sequence[Ngrams], vocabulary_size: int):
        """Counts `ngrams`, the n-grams of the text that have 0, 1, ... characters; the last are the longest."""
        self._vocabulary_size = vocabulary_size
        self._orders = []
        order = len(ngrams) - 1
        for k in range(1, order + 1):
            # Of the longest all occurrences; of the others one for each n-gram with a character more.
            occurrences = ngrams[k].before[order:] if k == order else ngrams[k].before[ngrams[k + 1].first]
            counts = np.bincount(occurrences, minlength=len(ngrams[k].keys))
            self._orders.append(_order(ngrams[k].keys, counts, vocabulary_size, len(ngrams[k - 1].keys)))

    def log_probabilities(self, ids: np.ndarray) -> np.ndarray:
        """Returns ln p of each of `ids`, `[K] int32`, given all before it: `[K] float64`."""
        p = np.full(len(ids), 1 / self._vocabulary_size)
        before = np.zeros(len(ids), np.int64)
        for order in self._orders:
            grams = self._find(order, before, ids)
            p = _interpolated(order, before, grams, p)
            before = np.concatenate([[ABSENT], grams[:-1]])
        return np.log(p)

    def distribution(self, context: np.ndarray) -> np.ndarray:
        """Returns p of every character after `context`, `[any] int32`: `[V] float64`."""
        characters = np.arange(self._vocabulary_size)
        p = np.full(self._vocabulary_size, 1 / self._vocabulary_size)
        before = np.zeros(len(context) + 1, np.int64)  # the context of each position, and of the next character
        for order in self._orders:
            last = np.full(self._vocabulary_size, before[-1])
            p = _interpolated(order, last, self._find(order, last, characters), p)
            before = np.concatenate([[ABSENT], self._find(order, before[:-1], context)])
        return p

    def _find(self, order: _Order, contexts: np.ndarray, characters: np.ndarray) -> np.ndarray:
        """Returns the ids of these n-grams, `ABSENT` for those that the text does not have."""
        wanted = contexts * self._vocabulary_size + characters
        found = np.minimum(np.searchsorted(order.keys, wanted), len(order.keys) - 1)
        return np.where((contexts != ABSENT) & (order.keys[found] == wanted), found, ABSENT)


def _order(keys: np.ndarray, counts: np.ndarray, vocabulary_size: int, num_contexts: int) -> _Order:
    discounts = np.concatenate([[0.0], _discounts(counts)])[np.minimum(counts, 3)]
    contexts = keys // vocabulary_size
    return _Order(
        keys,
        counts - discounts,
        np.bincount(contexts, counts, num_contexts),
        np.bincount(contexts, discounts, num_contexts),
    )


def _discounts(counts: np.ndarray) -> list[float]:
    """Returns D for counts of 1, 2 and 3 or more (Chen and Goodman 1998, equation 17).

    The estimates of a short text can be undefined or outside 0 to the count: then 0.5, 1 and 1.5, as KenLM's fallback.
    """
    of = [np.count_nonzero(counts == n) for n in range(5)]
    if all(of[1:]):
        y = of[1] / (of[1] + 2 * of[2])
        found: list[float] = [n - (n + 1) * y * of[n + 1] / of[n] for n in (1, 2, 3)]
        if all(0 <= discount <= n for n, discount in enumerate(found, 1)):
            return found
    return [0.5, 1.0, 1.5]


def _interpolated(order: _Order, contexts: np.ndarray, grams: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Returns p_k from p_{k-1}, `lower`, for these contexts and n-grams; all `[K]`."""
    totals = np.where(contexts == ABSENT, 0.0, order.totals[contexts])
    own = np.where(grams == ABSENT, 0.0, order.discounted[grams])
    with np.errstate(invalid='ignore', divide='ignore'):
        mixed = (own + order.discounts[contexts] * lower) / totals
    return np.where(totals > 0, mixed, lower)
