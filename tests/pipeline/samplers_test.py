"""Samplers: which characters can come, how often, and that a row is on its own."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline import samplers

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.3, 0.15], np.float32)
DRAWS = 4000


def _sample(probabilities, uniform, temperature=1.0, top_k=0, top_p=1.0) -> np.ndarray:
    rows = len(uniform)
    logits = np.tile(np.log(probabilities), [rows, 1]) + 3.0  # logits are free to be shifted
    per_row = [np.full(rows, value, kind) for value, kind in ((temperature, 'f4'), (top_k, 'i4'), (top_p, 'f4'))]
    return samplers.sample(tf.constant(logits, tf.float32), tf.constant(uniform, tf.float32), *per_row).numpy()


def _frequencies(**knobs) -> np.ndarray:
    evenly = (np.arange(DRAWS) + 0.5) / DRAWS
    return np.bincount(_sample(PROBABILITIES, evenly, **knobs), minlength=5) / DRAWS


def _expected(kept: list[int], temperature: float = 1.0) -> np.ndarray:
    weights = np.zeros(5)
    weights[kept] = PROBABILITIES[kept].astype(float) ** (1 / temperature)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ('knobs', 'expected'),
    [
        ({}, _expected([0, 1, 2, 3, 4])),
        ({'temperature': 0.5}, _expected([0, 1, 2, 3, 4], 0.5)),
        ({'temperature': 2.0}, _expected([0, 1, 2, 3, 4], 2.0)),
        ({'temperature': 1e-20}, _expected([1])),
        ({'temperature': 0.0}, _expected([1])),
        ({'top_k': 1}, _expected([1])),
        ({'top_k': 3}, _expected([1, 3, 4])),
        ({'top_k': 1, 'temperature': 3e38}, _expected([1])),  # all weights are 1 then: the logits rank
        ({'top_k': 2, 'temperature': 3e38}, _expected([1, 3], 3e38)),
        ({'top_k': 99}, _expected([0, 1, 2, 3, 4])),
        ({'top_p': 0.39}, _expected([1])),
        ({'top_p': 0.41}, _expected([1, 3])),
        ({'top_p': 0.84}, _expected([1, 3, 4])),
        ({'top_p': 1e-6}, _expected([1])),
        ({'top_k': 3, 'top_p': 0.5}, _expected([1, 3])),  # 0.4 / 0.85 of what top_k leaves is under 0.5
        ({'top_k': 2, 'top_p': 0.9, 'temperature': 2.0}, _expected([1, 3], 2.0)),
    ],
)
def test_frequencies_of_characters_equal_their_probabilities(knobs, expected):
    np.testing.assert_allclose(_frequencies(**knobs), expected, atol=2 / DRAWS)


def test_first_of_equal_logits_wins():
    equal = np.array([0.1, 0.3, 0.3, 0.3], np.float32)
    assert _sample(equal, [0.9], temperature=0.0) == [1]
    assert _sample(equal, [0.99], top_k=1) == [1]
    assert _sample(equal, [0.99], top_k=2) == [2]


@pytest.mark.parametrize('uniform', [0.0, np.float32(1 - 2**-24)])
def test_ends_of_the_uniform_range_choose_a_possible_character(uniform):
    impossible_ends = np.array([0, 0.5, 0.5, 0], np.float32)
    with np.errstate(divide='ignore'):
        assert _sample(impossible_ends, [uniform])[0] == (1 if uniform == 0 else 2)


def _nucleus_of_row(logits: np.ndarray, weights: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    """By its definition, in float64."""
    order = np.argsort(-logits, kind='stable')[: top_k or None]
    before = np.cumsum(weights[order].astype(float)) - weights[order]
    kept = np.zeros(len(weights), bool)
    kept[order[before < top_p * weights[order].sum(dtype=float)] if top_p < 1 else order] = True
    return kept


@pytest.mark.parametrize('spread', [0.01, 0.5, 3.0])
def test_nucleus_of_a_large_vocabulary_equals_its_definition_in_any_batch(spread):
    """There are three ways to find it: some rows need the second or the third, and the others must not notice.

    One character is impossible, and some rows have few different logits.
    """
    knobs = [(0, 0.3), (0, 0.9), (0, 0.999), (5, 1.0), (40, 0.5), (41, 1.0), (200, 0.9), (999, 0.95), (0, 1.0)]
    knobs += [(0, 0.9), (0, 0.01), (0, 0.9), (0, 0.5)]
    top_k, top_p = (np.array(column) for column in zip(*knobs, strict=True))
    logits = np.random.default_rng(1).normal(0, spread, [len(knobs), 300]).astype('f4')
    logits[:, 7] = logits[:, 3]
    logits[:, 9] = float('-inf')
    logits[9:11] = np.round(logits[9:11] / spread) * spread
    logits[11] = 1.5
    weights = np.exp(logits)

    def kept(rows) -> np.ndarray:
        columns = logits[rows], weights[rows], top_k[rows].astype('i4'), top_p[rows].astype('f4')
        return samplers.nucleus(*map(tf.constant, columns)).numpy()

    expected = [_nucleus_of_row(*row) for row in zip(logits, weights, top_k, top_p, strict=True)]
    np.testing.assert_array_equal(kept(slice(None)), expected)
    for row in range(len(knobs)):
        np.testing.assert_array_equal(kept([row])[0], expected[row])


@pytest.mark.parametrize('spread', [0.01, 0.5, 3.0])
def test_nucleus_of_many_characters_does_not_put_all_in_order(monkeypatch, spread):
    counts, by_order = [], samplers._by_order
    monkeypatch.setattr(samplers, '_by_order', lambda *args: counts.append(args[-1]) or by_order(*args))
    logits = tf.random.stateless_normal([20, 1000], [1, 2]) * spread
    samplers.nucleus(logits, tf.exp(logits), tf.zeros([20], tf.int32), tf.fill([20], 0.9))
    assert counts == [samplers._FEW]


def test_each_row_has_its_own_knobs():
    rows = [(0.0, 0, 1.0), (1.0, 0, 1.0), (1.0, 2, 1.0), (0.7, 0, 0.5), (1.5, 4, 0.9)]
    logits = tf.random.stateless_normal([5, 50], [1, 2]) * 2
    uniform = tf.constant([0.1, 0.9, 0.99, 0.8, 0.7])
    temperature, top_k, top_p = zip(*rows, strict=True)
    knobs = tf.constant(temperature), tf.constant(top_k), tf.constant(top_p)
    together = samplers.sample(logits, uniform, *knobs)
    alone = [samplers.sample(*(x[n : n + 1] for x in (logits, uniform, *knobs)))[0] for n in range(5)]
    np.testing.assert_array_equal(together, alone)
