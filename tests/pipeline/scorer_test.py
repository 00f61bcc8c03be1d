"""The loss on a text against the equations in NumPy, for any windows; the baselines against numbers by hand."""

import itertools
import math

import numpy as np
import pytest

from data.ids import Ids
from data.vocabulary import Vocabulary
from pipeline import scorer
from pipeline.config import ModelConfig
from pipeline.dataset import EncodedText
from pipeline.model import CharRNN
from pipeline.perplexity import perplexity, uniform_nats, unigram_nats
from pipeline.scorer import Scorer
from tests.conftest import stored


def _nats_by_hand(model, ids) -> float:
    return np.mean(_losses_by_hand(model, ids))


def _losses_by_hand(model, ids) -> list[float]:
    """One-hot rows, one character at a time, in float64."""
    p = {v.name.split(':')[0]: v.numpy().astype(float) for v in model.trainable_variables}
    hidden, nats = np.zeros(p['b_h'].shape), []
    for read, target in itertools.pairwise(ids):
        hidden = np.tanh(np.eye(len(p['b_q']))[read] @ p['w_xh'] + hidden @ p['w_hh'] + p['b_h'])
        logits = hidden @ p['w_hq'] + p['b_q']
        nats.append(np.log(np.exp(logits).sum()) - logits[target])
    return nats


def _ids(model, count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, model.vocabulary_size, count).astype(np.int32)


def _text(ids: np.ndarray, num_context: int = 0) -> EncodedText:
    return EncodedText(Ids.of(ids), num_context, len(ids) - num_context, 0)


def test_every_character_but_the_first_is_predicted_once(model):
    """Texts of one target; of one window and of two, one target less and one more."""
    own = Scorer(model, window=6, jit=False)
    for count in (2, 6, 7, 8, 12, 13, 14):
        ids = _ids(model, count)
        assert own.nats(_text(ids)) == pytest.approx(_nats_by_hand(model, ids), rel=1e-6), count


def test_context_keeps_a_model_out_of_the_state_that_a_cold_start_locks_it_into():
    """A bistable unit: 'b' sets it, and it stays set. From zero, 'a' pulls it down for ever, and predicts nothing."""
    model = CharRNN(ModelConfig(hidden_size=1), 2)
    values = {'w_xh': [[-0.5], [6.0]], 'w_hh': [[4.0]], 'w_hq': [[5.0, -5.0]]}
    for variable in model.trainable_variables:
        name = variable.name.split(':')[0]
        variable.assign(values.get(name, np.zeros(variable.shape)))
    held_out, vocabulary = 'a' * 2500, Vocabulary('ab')
    cold, warm = (
        EncodedText.of(stored(held_out), vocabulary, 'x', [stored(before)] if before else [])
        for before in ('', 'b' + 'a' * 999)
    )
    assert Scorer(model).nats(cold) > 9
    assert Scorer(model).nats(warm) < 0.01


@pytest.mark.parametrize('num_context', [1, 2, 5, 6, 7, 13, 30])
def test_context_is_read_and_not_counted(model, num_context):
    ids = _ids(model, 31)
    whole = _losses_by_hand(model, ids)
    counted = whole[num_context - 1 :]  # the first loss is that of the second character
    found = Scorer(model, window=6, jit=False).losses(_text(ids, num_context))
    np.testing.assert_allclose(found, counted, rtol=1e-5)
    assert len(found) == len(ids) - num_context


def test_state_is_carried_across_windows(model):
    ids = _ids(model, 101)
    expected = _nats_by_hand(model, ids)
    for window in (3, 7, 1000):
        assert Scorer(model, window=window, jit=False).nats(_text(ids)) == pytest.approx(expected, rel=1e-6), window
    apart = np.mean([_nats_by_hand(model, ids[i : i + 5]) for i in range(0, 100, 4)])
    assert abs(apart - expected) > 1e-3, 'this model would not tell whether the state is carried'


def test_evaluation_asks_before_each_window(model):
    asked = []
    Scorer(model, window=6, jit=False).nats(_text(_ids(model, 14)), lambda: asked.append(1))
    assert len(asked) == 3


@pytest.mark.parametrize('num_context', [0, 1, 9, 20])
@pytest.mark.parametrize('count', [80, 99, 100, 101, 157, 300])
def test_long_text_is_read_in_rows_after_their_context(model, monkeypatch, num_context, count):
    """Each loss is that of the equations, from where its row starts; every character is counted once."""
    for name, value in {'LONG': 100, '_ROW': 25, '_MOST_ROWS': 5, 'CONTEXT': 20, '_MOST_LOGITS': 30}.items():
        monkeypatch.setattr(scorer, name, value)
    ids = _ids(model, count + 1)
    rows = 1 if count < 100 else min(5, count // 25)
    expected = _losses_by_hand(model, ids)
    counted = -(-(count - 20) // rows)
    for row in range(1, rows):  # it starts 20 characters before those that it counts
        start = row * counted
        of_row = _losses_by_hand(model, ids[start : start + 20 + counted + 1])
        expected[start + 20 : start + 20 + counted] = of_row[20:]
    found = Scorer(model, jit=False).losses(_text(ids, num_context))
    np.testing.assert_allclose(found, expected[max(num_context - 1, 0) :], rtol=5e-3)
    assert len(found) == count + 1 - max(num_context, 1)


def test_rows_change_the_perplexity_by_less_than_a_ten_thousandth(monkeypatch):
    """Of a model that forgets, as trained ones do."""
    model = CharRNN(ModelConfig(hidden_size=16, init_scale=0.2), 24, seed=3)
    text = _text(_ids(model, scorer.LONG + 1))
    in_rows = Scorer(model).nats(text)
    monkeypatch.setattr(scorer, 'LONG', 2 * scorer.LONG)
    in_one = Scorer(model).nats(text)
    assert in_rows != in_one
    assert np.exp(in_rows) == pytest.approx(np.exp(in_one), rel=1e-4)


def test_scoring_compiles_once_and_leaves_the_weights_unchanged(model):
    before = [v.numpy() for v in model.trainable_variables]
    own = Scorer(model, window=10)
    assert own.nats(_text(_ids(model, 35))) == own.nats(_text(_ids(model, 35)))
    assert own._score.experimental_get_tracing_count() == 1
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_baselines_by_hand():
    """A training part with 5, 2 and 0 of three characters."""
    ids, counts = np.array([0, 2, 0]), np.array([5, 2, 0])
    assert uniform_nats(3) == pytest.approx(1.0986123)
    assert unigram_nats(ids, counts) == pytest.approx(-(2 * math.log(6 / 10) + math.log(1 / 10)) / 3)


@pytest.mark.parametrize(('nats', 'expected'), [(0.0, 1.0), (2.0, math.exp(2)), (89.0, math.inf), (math.inf, math.inf)])
def test_perplexity_too_large_for_a_float32_is_infinite(nats, expected):
    assert perplexity(nats) == expected


def test_perplexity_of_nan_is_nan():
    assert math.isnan(perplexity(math.nan))
