"""Samplers: which characters can come, how often, and that a row is on its own."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline import samplers

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.3, 0.15], np.float32)
DRAWS = 10_000
# Pairs that fill the unit square evenly: both numbers, and so all that depends on them, have few gaps.
PAIRS = np.stack([(np.arange(DRAWS) + 0.5) / DRAWS, np.arange(DRAWS) * (5**0.5 - 1) / 2 % 1], -1)


def _sample(logits, pairs, temperature=1.0, top_k=0, top_p=1.0) -> np.ndarray:
    """Chooses with the same logits and knobs for each of the pairs of numbers."""
    rows = len(pairs)
    knobs = tf.fill([rows], temperature), tf.fill([rows], top_k), tf.fill([rows], top_p)
    draw = samplers.sampler(tf.constant(pairs, tf.float32)[:, tf.newaxis], *knobs)
    return draw(tf.tile([tf.constant(logits, tf.float32)], [rows, 1]), tf.constant(0)).numpy()


def _logits(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide='ignore'):
        return np.log(probabilities) + 3.0  # logits are free to be shifted


def _frequencies(logits: np.ndarray, **knobs) -> np.ndarray:
    return np.bincount(_sample(logits, PAIRS, **knobs), minlength=len(logits)) / DRAWS


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
        ({'temperature': 0.0, 'top_k': 3, 'top_p': 0.9}, _expected([1])),
        ({'top_k': 1}, _expected([1])),
        ({'top_k': 3}, _expected([1, 3, 4])),
        ({'top_k': 1, 'temperature': 3e38}, _expected([1])),  # all weights are 1 then: the logits rank
        ({'top_k': 2, 'temperature': 3e38}, _expected([1, 3], 3e38)),
        ({'top_p': 0.5, 'temperature': 3e38}, _expected([1, 3, 4], 3e38)),
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
    np.testing.assert_allclose(_frequencies(_logits(PROBABILITIES), **knobs), expected, atol=0.002)


def test_first_of_equal_logits_wins():
    equal = _logits(np.array([0.1, 0.3, 0.3, 0.3]))
    assert _sample(equal, [(0.9, 0.9)], temperature=0.0) == [1]
    assert _sample(equal, [(0.99, 0.99)], top_k=1) == [1]
    assert _sample(equal, [(0.99, 0.99)], top_k=2) == [2]
    assert set(_sample(equal, PAIRS, top_p=0.31)) == {1, 2}


@pytest.mark.parametrize('uniform', [0.0, np.float32(1 - 2**-24)])
@pytest.mark.parametrize('knobs', [{}, {'top_k': 9}, {'top_p': 0.999}], ids=str)
def test_ends_of_the_uniform_range_choose_a_possible_character(uniform, knobs):
    impossible_ends = _logits(np.array([0, 0.5, 0.5, 0]))
    assert _sample(impossible_ends, [(uniform, uniform)], **knobs)[0] == (1 if uniform == 0 else 2)


def _kept(logits: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    """The characters to choose from, `[V] bool`, by their definition, in float64."""
    weights = np.exp(logits.astype(float))
    order = np.argsort(-logits, kind='stable')[: top_k or None]
    before = np.cumsum(weights[order]) - weights[order]
    kept = np.zeros(len(weights), bool)
    kept[order[before < top_p * weights[order].sum()] if top_p < 1 else order] = True
    return kept


LARGE_KNOBS = [(0, 0.3), (0, 0.9), (0, 0.999), (0, 0.01), (0, 1.0)]
LARGE_KNOBS += [(5, 1.0), (40, 0.5), (41, 1.0), (200, 0.9), (999, 0.95)]


def _large_logits(spread: float, tied: bool) -> np.ndarray:
    """Of 300 characters, one of which is impossible; if `tied`, few of them differ."""
    logits = np.random.default_rng(1).normal(0, spread, 300).astype('f4')
    logits[7] = logits[3]
    logits[9] = float('-inf')
    return np.round(logits / spread) * spread if tied else logits


@pytest.mark.parametrize('spread', [0.01, 0.5, 3.0])
@pytest.mark.parametrize('tied', [False, True])
def test_characters_of_a_large_vocabulary_have_their_probabilities(spread, tied):
    """By all ways to draw: a narrow set of characters and a wide one, with top_k, with top_p, and with both."""
    logits = _large_logits(spread, tied)
    for top_k, top_p in LARGE_KNOBS:
        kept = _kept(logits, top_k, top_p)
        expected = np.where(kept, np.exp(logits.astype(float)), 0)
        expected /= expected.sum()
        found = _frequencies(logits, top_k=top_k, top_p=top_p)
        np.testing.assert_allclose(found, expected, atol=0.002, err_msg=f'{top_k}, {top_p}')
        assert abs(found - expected).sum() / 2 < 0.03
        assert not found[~kept].any()
        assert found[expected > 0.001].all()


@pytest.mark.parametrize('spread', [0.01, 0.5, 3.0])
def test_row_does_not_depend_on_other_rows(spread):
    """Nor on their knobs: some rows need a second draw, and some of these all characters in order."""
    knobs = [(1.0, *pair) for pair in LARGE_KNOBS] + [(0.0, 0, 1.0), (0.0, 3, 0.5), (0.7, 0, 0.5), (1.5, 4, 0.9)]
    temperature, top_k, top_p = (np.array(column) for column in zip(*knobs * 4, strict=True))
    random = np.random.default_rng(2)
    logits = random.normal(0, spread, [len(top_k), 300]).astype('f4')
    uniform = random.random([len(top_k), 3, 2], np.float32)
    columns = uniform, temperature.astype('f4'), top_k.astype('i4'), top_p.astype('f4')

    def drawn(rows) -> np.ndarray:
        draw = samplers.sampler(*(tf.constant(column[rows]) for column in columns))
        return draw(tf.constant(logits[rows]), tf.constant(2)).numpy()

    together = drawn(slice(None))
    for row in range(len(top_k)):
        assert drawn([row])[0] == together[row], knobs[row % len(knobs)]


def test_only_rows_that_need_it_are_sorted(monkeypatch):
    """It takes longer than all else. With top_k that are all rows, with top_p those whose first draw is rejected."""
    monkeypatch.setattr(samplers, '_draw_sorted', lambda logits, *_: tf.fill([tf.shape(logits)[0], 1], -1))
    logits, pairs = _large_logits(0.5, tied=False), PAIRS[::10]
    of_all = _sample(logits, pairs)
    assert min(of_all) >= 0
    assert set(_sample(logits, pairs, top_k=5)) == {-1}
    accepted = _kept(logits, 0, 0.9)[of_all]
    np.testing.assert_array_equal(_sample(logits, pairs, top_p=0.9), np.where(accepted, of_all, -1))
    assert 0.89 < accepted.mean() < 0.92


def test_numbers_are_those_of_the_position():
    logits = tf.constant([_large_logits(0.5, tied=False)] * 4)
    uniform = tf.constant(np.random.default_rng(3).random([4, 3, 2], np.float32))
    knobs = tf.ones([4]), tf.constant([0, 0, 0, 50]), tf.constant([1.0, 0.9, 0.2, 0.9])
    draw = samplers.sampler(uniform, *knobs)
    for position in range(3):
        alone = samplers.sampler(uniform[:, position : position + 1], *knobs)
        np.testing.assert_array_equal(draw(logits, tf.constant(position)), alone(logits, tf.constant(0)))


@pytest.mark.parametrize('knobs', [(1.0, 0, 1.0), (1.0, 0, 0.5), (1.0, 3, 0.5), (0.0, 0, 0.5)], ids=str)
def test_row_without_numbers_does_not_fail_the_others(knobs):
    """A model whose weights overflow gives such logits."""
    temperature, top_k, top_p = ([value, value] for value in knobs)
    draw = samplers.sampler(tf.fill([2, 1, 2], 0.99), *map(tf.constant, (temperature, top_k, top_p)))
    good = _large_logits(0.5, tied=False)
    ids = draw(tf.constant([np.full_like(good, np.nan), good]), tf.constant(0)).numpy()
    assert ids[1] == draw(tf.constant([good, good]), tf.constant(0)).numpy()[0]
    assert 0 <= ids[0] < len(good)
