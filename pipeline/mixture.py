"""Mixtures of models: a weighted mean of their probabilities."""

import numpy as np

_STEPS = 200


def fit_weights(log_probabilities: np.ndarray) -> np.ndarray:
    """Returns the weights `[M]` with the highest likelihood of a text, by expectation maximisation.

    `log_probabilities`, `[M, K]`, are those of the K characters of the text under the M models. The weights sum to 1.
    """
    p = np.exp(log_probabilities - log_probabilities.max(axis=0))
    weights = np.full(len(p), 1 / len(p))
    for _ in range(_STEPS):
        weighted = weights[:, np.newaxis] * p
        weights = (weighted / weighted.sum(axis=0)).mean(axis=1)
    return weights


def mixed(log_probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns ln p of the K characters under the mixture, `[K]`, from those under its models, `[M, K]`."""
    return np.logaddexp.reduce(log_probabilities + np.log(np.maximum(weights, 1e-300))[:, np.newaxis], axis=0)
