"""The cache against its rule in dictionaries; it never looks ahead."""

import collections

import numpy as np
import pytest

from pipeline.ngram_cache import adapted

V = 5
IDS = np.random.default_rng(3).choice(V, 400, p=[0.4, 0.3, 0.15, 0.1, 0.05]).astype(np.int32)
BASE = np.log(np.random.default_rng(4).uniform(0.05, 0.6, len(IDS)))


def _by_hand(shortest: int, longest: int) -> list[float]:
    followers = collections.defaultdict(collections.Counter)
    found = []
    for i, character in enumerate(IDS):
        p = np.exp(BASE[i])
        contexts = [tuple(IDS[i - k : i]) for k in range(shortest - 1, min(longest - 1, i) + 1)]
        for context in contexts:
            seen = followers[context]
            if seen:
                p = (seen[character] + len(seen) * p) / (seen.total() + len(seen))
        for context in contexts:
            followers[context][character] += 1
        found.append(p)
    return found


@pytest.mark.parametrize('orders', [(1, 1), (1, 4), (2, 2), (3, 6)])
def test_probabilities_equal_the_rule(orders):
    np.testing.assert_allclose(np.exp(adapted(IDS, BASE, V, orders)), _by_hand(*orders), rtol=1e-10)


@pytest.mark.parametrize('length', [1, 3, 7])
def test_text_shorter_than_the_n_grams_leaves_the_model(length):
    np.testing.assert_allclose(adapted(np.arange(length), BASE[:length], V + 5), BASE[:length])


def test_characters_that_follow_do_not_change_what_was_predicted():
    changed = IDS.copy()
    changed[200:] = (changed[200:] + 1) % V
    np.testing.assert_array_equal(adapted(IDS, BASE, V, (1, 4))[:200], adapted(changed, BASE, V, (1, 4))[:200])


def test_probabilities_of_a_character_sum_to_one():
    """With the probabilities that the model gives to each character at the last position."""
    base = np.random.default_rng(5).dirichlet(np.ones(V))
    found = []
    for character in range(V):
        ids, log_p = np.append(IDS[:-1], character), np.append(BASE[:-1], np.log(base[character]))
        found.append(np.exp(adapted(ids, log_p, V, (1, 4))[-1]))
    assert sum(found) == pytest.approx(1, abs=1e-12)
