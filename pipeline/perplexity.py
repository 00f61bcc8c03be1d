"""Perplexity, and the losses of two baselines that ignore the order of characters.

Losses are mean nats per character. Perplexity is `exp` of a loss; bits per character are nats / ln 2.
"""

import math

import numpy as np

_LARGEST_EXPONENT = 88.7  # of a float32, which TensorBoard stores


def perplexity(nats: float) -> float:
    """Returns `exp(nats)`; inf if that is too large for a float32."""
    return math.exp(nats) if nats < _LARGEST_EXPONENT else nats if math.isnan(nats) else math.inf


def bits(nats: float) -> float:
    """Returns a loss in bits per character."""
    return nats / math.log(2)


def mean(losses: np.ndarray) -> float:
    """Returns the mean of `[K]` losses, from their exact sum."""
    return math.fsum(losses) / len(losses)


def finite(value: float | None) -> float | None:
    """Returns `value`, or None if JSON cannot represent it."""
    return value if value is not None and math.isfinite(value) else None


def uniform_nats(vocabulary_size: int) -> float:
    """Returns the loss if all V characters are equally likely: ln V."""
    return math.log(vocabulary_size)


def unigram_nats(ids: np.ndarray, counts: np.ndarray) -> float:
    """Returns the loss on `ids` if p is the frequency of a character in the training part.

    `p(c) = (counts[c] + 1) / (sum(counts) + V)`. The 1 (Laplace's rule) gives U+FFFD, which may be missing from the
    training part, a probability above 0.
    """
    p = (counts + 1) / (counts.sum() + len(counts))
    return float(np.bincount(ids, minlength=len(p)) @ -np.log(p)) / len(ids)
