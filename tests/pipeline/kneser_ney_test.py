"""The Kneser-Ney model against its equations, counted by hand in dictionaries, and against the rules of probability."""

import collections
import functools
import os
import pathlib

import numpy as np
import pytest

from data.vocabulary import Vocabulary
from pipeline.config import DataConfig
from pipeline.dataset import Dataset
from pipeline.kneser_ney import KneserNey
from pipeline.ngrams import numbered
from tests.conftest import TEXT

VOCABULARY = Vocabulary.from_text(TEXT + '囧')
# Lines in a random order, so that the counts of n-grams differ; 囧 does not occur.
LINES = np.random.default_rng(1).choice(TEXT.split(), 300)
TRAINING = ' '.join(LINES[:250])
HELD_OUT = ' '.join(LINES[250:]) + '囧' + TRAINING[:20]


def _model(ids: np.ndarray, vocabulary_size: int, order: int) -> KneserNey:
    return KneserNey(list(numbered(ids, vocabulary_size, order)), vocabulary_size)


class _ByHand:
    """The equations for one pair of context and character at a time."""

    def __init__(self, text: str, order: int):
        self._text, self._order = text, order
        self.probability = functools.cache(self._probability)

    @functools.cached_property
    def _counts(self) -> dict[int, collections.Counter]:
        grams = {k: [self._text[i : i + k] for i in range(len(self._text) - k + 1)] for k in range(1, self._order + 1)}
        lower = {k: collections.Counter(gram[1:] for gram in set(grams[k + 1])) for k in range(1, self._order)}
        return lower | {self._order: collections.Counter(grams[self._order])}

    @functools.cache  # noqa: B019 - lives as long as the test
    def _discounts(self, k: int) -> tuple[float, ...]:
        n = collections.Counter(self._counts[k].values())
        if all(n[c] for c in (1, 2, 3, 4)):
            y = n[1] / (n[1] + 2 * n[2])
            found = tuple(c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3))
            if all(0 <= d <= c for c, d in zip((1, 2, 3), found, strict=True)):
                return found
        return 0.5, 1.0, 1.5

    def _probability(self, context: str, character: str) -> float:
        k = len(context) + 1
        lower = self.probability(context[1:], character) if context else 1 / len(VOCABULARY)
        followers = {c: self._counts[k][context + c] for c in VOCABULARY.characters if self._counts[k][context + c]}
        if not followers:
            return lower
        discount = {c: self._discounts(k)[min(n, 3) - 1] for c, n in followers.items()}
        own = followers[character] - discount[character] if character in followers else 0.0
        return (own + sum(discount.values()) * lower) / sum(followers.values())


@pytest.mark.parametrize('order', [1, 2, 3, 5])
def test_probabilities_equal_the_equations(order):
    by_hand = _ByHand(TRAINING, order)
    expected = [by_hand.probability(HELD_OUT[max(0, i - order + 1) : i], c) for i, c in enumerate(HELD_OUT)]
    model = _model(VOCABULARY.encode(TRAINING), len(VOCABULARY), order)
    np.testing.assert_allclose(np.exp(model.log_probabilities(VOCABULARY.encode(HELD_OUT))), expected, rtol=1e-10)


@pytest.mark.parametrize('order', [1, 2, 6])
def test_distributions_sum_to_one(order):
    """After contexts that were read, that were not, and that are shorter than the longest."""
    model = _model(VOCABULARY.encode(TRAINING), len(VOCABULARY), order)
    random, read = np.random.default_rng(2), VOCABULARY.encode(TRAINING)
    for _ in range(500):
        start, length = random.integers(len(read) - 8), random.integers(9)
        for context in (read[start : start + length], random.integers(0, len(VOCABULARY), length)):
            assert abs(model.distribution(context).sum() - 1) < 1e-9


def test_distribution_has_the_probability_of_each_next_character():
    model = _model(VOCABULARY.encode(TRAINING), len(VOCABULARY), 4)
    ids = VOCABULARY.encode(HELD_OUT)
    log_p = model.log_probabilities(ids)
    for i in range(0, len(ids), 7):
        assert np.log(model.distribution(ids[:i])[ids[i]]) == pytest.approx(log_p[i], rel=1e-12)


def test_text_as_short_as_the_order_is_counted():
    model = _model(np.array([1, 0, 2]), 4, 3)
    assert model.distribution(np.array([1, 0])).argmax() == 2


@pytest.mark.parametrize(('order', 'expected'), [(2, 159), (4, 141), (6, 132.3), (7, 131.9)])
def test_perplexities_on_the_corpus_of_the_section(order, expected):
    """Published nowhere; measured twice, by two other programs."""
    path = pathlib.Path(os.environ.get('CHARRNN_DATA_HOME', os.devnull)) / 'jaychou_lyrics.txt.zip'
    if not path.exists():
        pytest.skip('CHARRNN_DATA_HOME names no folder that holds jaychou_lyrics.txt.zip')
    dataset = Dataset.load(DataConfig(corpus=str(path), valid_fraction=0.1, min_count=2))
    model = _model(np.asarray(dataset.ids), len(dataset.vocabulary), order)
    valid = dataset.valid
    nats = -model.log_probabilities(np.asarray(valid.ids))[-len(valid.targets) :].mean()
    assert np.exp(nats) == pytest.approx(expected, rel=5e-3)
