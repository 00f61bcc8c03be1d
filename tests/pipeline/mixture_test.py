"""The weights of a mixture are the best ones, and the mixture is a probability."""

import numpy as np
import pytest

from pipeline.mixture import fit_weights, mixed

RANDOM = np.random.default_rng(1)
LOG_P = np.log(RANDOM.uniform(0.01, 1, [3, 500]) ** [[1], [2], [3]])


def _nats(weights: np.ndarray) -> float:
    return -mixed(LOG_P, weights).mean()


def test_no_other_weights_are_better():
    best = fit_weights(LOG_P)
    assert best.sum() == pytest.approx(1)
    for _ in range(200):
        other = RANDOM.dirichlet(np.ones(3))
        assert _nats(best) <= _nats(other) + 1e-9
        assert _nats(best) <= _nats(0.99 * best + 0.01 * other) + 1e-9


def test_mixture_is_the_weighted_mean_of_the_probabilities():
    weights = np.array([0.5, 0.5, 0.0])
    np.testing.assert_allclose(np.exp(mixed(LOG_P, weights)), np.exp(LOG_P[:2]).mean(axis=0))


def test_likelihoods_too_small_for_a_float_are_mixed():
    log_p = np.array([[-2000.0, -1.0], [-3000.0, -1.0]])
    assert mixed(log_p, fit_weights(log_p))[0] == pytest.approx(-2000 + np.log(fit_weights(log_p)[0]))


def test_model_that_is_always_better_gets_all_the_weight():
    log_p = np.log([[0.5] * 9, [0.1] * 9])
    assert fit_weights(log_p)[0] == pytest.approx(1)
