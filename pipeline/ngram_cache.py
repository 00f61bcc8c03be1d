"""A cache of the n-grams that were read: it adapts any model to the text that it reads.

The counts are of the text before the predicted character alone, so the cache never looks ahead. Each order is mixed
with the order below by the rule of Witten and Bell (1991):

  p_k(c | h) = (n(hc) + t(h) p_{k-1}(c | h')) / (n(h) + t(h))

n(hc) is the number of times that c has followed the k - 1 characters h so far, n(h) the sum over all c, and t(h) the
number of distinct c. A context that was not read leaves p_{k-1} unchanged. Below the shortest order is the model that
adapts: shorter n-grams say less than the model does. The default orders were chosen on a validation part of the
section's corpus.
"""

import itertools

import numpy as np

from pipeline.ngrams import ABSENT, numbered


def adapted(
    ids: np.ndarray, log_probabilities: np.ndarray, vocabulary_size: int, orders: tuple[int, int] = (4, 8)
) -> np.ndarray:
    """Returns ln p of each of `ids`, `[K] int32`, under a model with a cache of n-grams.

    Args:
      ids: the text.
      log_probabilities: `[K] float64`, ln p under the model alone.
      vocabulary_size: V.
      orders: the numbers of characters of the shortest and the longest n-grams.
    """
    p = np.exp(log_probabilities)
    shortest, longest = orders
    for shorter, ngrams in itertools.islice(
        itertools.pairwise(numbered(ids, vocabulary_size, min(longest, len(ids)))), shortest - 1, None
    ):
        p = _mixed(p, shorter.before[:-1], ngrams.before[1:])
    return np.log(p)


def _mixed(lower: np.ndarray, contexts: np.ndarray, grams: np.ndarray) -> np.ndarray:
    """Returns p_k from p_{k-1}; all `[K]`, the ids of the context and of the n-gram at each position."""
    count = _earlier(grams, np.ones(len(grams)))
    total = _earlier(contexts, np.ones(len(grams)))
    distinct = _earlier(contexts, count == 0)
    known = (contexts != ABSENT) & (total > 0)
    return np.where(known, (count + distinct * lower) / np.maximum(total + distinct, 1), lower)


def _earlier(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns, for each position, the sum of the values at earlier positions of its group."""
    order = np.argsort(groups, kind='stable')
    sums = np.cumsum(values[order], dtype=np.int64) - values[order]
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order[0]] - 1))
    sizes = np.diff(starts, append=len(groups))
    result = np.empty(len(groups), np.int64)
    result[order] = sums - np.repeat(sums[starts], sizes)
    return result
