"""How likely texts are: against the equations in NumPy and what generating reports; and which texts are refused."""

import numpy as np
import pytest
import tensorflow as tf

from data.vocabulary import UNKNOWN, Vocabulary
from pipeline.config import ModelConfig
from pipeline.limits import Limits
from pipeline.model import CharRNN
from pipeline.scoring import SIGNATURE, TextLikelihood
from tests import oracle

TEXTS = ['分开', '不分开 你', '山一程 水一程 风把灯吹灭', '灯 ', '你在河这边 我在河那边 雪']
LIMITS = Limits(max_length=20, max_prefix=10)


def _score(model, vocabulary, texts) -> tuple[np.ndarray, ...]:
    score = tf.function(TextLikelihood(model, vocabulary, LIMITS).__call__, input_signature=SIGNATURE)
    return tuple(result.numpy() for result in score(tf.constant(texts)))


@pytest.mark.parametrize(('cell', 'equations'), [('rnn', 'tanh'), ('gru', 'gru'), ('lstm', 'lstm')])
def test_scores_of_texts_of_any_length_equal_the_equations(models, vocabulary, cell, equations):
    p = {v.name.split(':')[0]: v.numpy().astype(float) for v in models[cell].trainable_variables}
    p = oracle.without_embeddings(p, models[cell].config.tie_embeddings)
    log_likelihood, counts, log_probabilities = _score(models[cell], vocabulary, TEXTS)
    zeros = tuple(part.numpy().astype(float) for part in models[cell].zero_state(1))
    for text, found, count, of_each in zip(TEXTS, log_likelihood, counts, log_probabilities, strict=True):
        ids = vocabulary.encode(text)[np.newaxis]
        loss, _, _ = oracle.loss_and_gradients(p, ids[:, :-1], ids[:, 1:], zeros, equations)
        assert count == len(text) - 1
        assert found == pytest.approx(-loss * count, rel=1e-5), text
        for first in range(count):  # the mean loss of the first characters gives the sum of their probabilities
            loss, _, _ = oracle.loss_and_gradients(p, ids[:, : first + 1], ids[:, 1 : first + 2], zeros, equations)
            assert of_each[: first + 1].sum() == pytest.approx(-loss * (first + 1), rel=1e-5)
        assert not of_each[count:].any()


def test_log_likelihood_of_generation_equals_scoring(model, vocabulary, generator):
    prefixes = ['分开', '山一程 水', '不分开 你在']
    n = len(prefixes)
    knobs = ([1.0, 0.0, 1.7], [0, 0, 5], [1.0, 1.0, 0.8])
    text, log_likelihood = generator(
        tf.constant(prefixes),
        tf.constant([9, 15, 1]),
        *map(tf.constant, knobs),
        stop=tf.fill([n], ''),
        seed=tf.range(n, dtype=tf.int64),
    )
    whole, *_ = _score(model, vocabulary, text.numpy())
    before, *_ = _score(model, vocabulary, prefixes)
    np.testing.assert_allclose(log_likelihood, whole - before, rtol=1e-5)


def test_new_character_is_read_as_unknown_if_the_vocabulary_has_one():
    vocabulary = Vocabulary('分山开' + UNKNOWN, has_unknown=True)
    model = CharRNN(ModelConfig(hidden_size=8, init_scale=0.5), len(vocabulary))
    (as_new, as_unknown), counts, _ = _score(model, vocabulary, ['囧分囧', f'{UNKNOWN}分{UNKNOWN}'])
    assert as_new == as_unknown
    assert counts.tolist() == [2, 2]


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (['分开', '分'], r'text\[1\] has 1 characters; it must have 2 to 30, the limit that this model was exported'),
        ([''], r'text\[0\] has 0 characters'),
        (['分' * 30, '分' * 31], r'text\[1\] has 31 characters; it must have 2 to 30'),
        (['分开', '分囧'], r"text\[1\] contains .*囧.* \(U\+56E7\)"),
        (tf.zeros([0], tf.string), r'text has no row; give one or more'),
    ],
)  # fmt: skip
def test_text_that_cannot_be_scored_is_named(model, vocabulary, texts, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        _score(model, vocabulary, texts)
