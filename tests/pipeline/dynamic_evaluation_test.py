"""Dynamic evaluation against its rule, one segment at a time; the model that is evaluated keeps its weights."""

import numpy as np
import pytest
import tensorflow as tf

from data.ids import Ids
from pipeline import dynamic_evaluation
from pipeline.config import ModelConfig
from pipeline.dataset import EncodedText
from pipeline.dynamic_evaluation import DynamicScorer
from pipeline.model import CharRNN
from pipeline.scorer import Scorer

pytestmark = pytest.mark.slow

V, RATE = 9, 0.3
MODELS = {
    'rnn': ModelConfig(hidden_size=12, init_scale=0.2),
    'tied gru': ModelConfig(cell='gru', hidden_size=12, init_scale=0.2, embedding_size=12, tie_embeddings=True),
    'lstm of two layers': ModelConfig(cell='lstm', num_layers=2, hidden_size=12, init_scale=0.2),
}


def _text(count: int, num_context: int = 0) -> EncodedText:
    """Each character is one of two that may follow the one before."""
    ids = (np.random.default_rng(count).integers(1, 3, count).cumsum() % V).astype(np.int32)
    return EncodedText(Ids.of(ids), num_context, count - num_context, 0)


def _by_hand(config: ModelConfig, ids: np.ndarray) -> tuple[list[float], int]:
    """Autodiff over single steps; a gradient step after each five characters, or what is left of them.

    Each step also moves the weights by 0.003 of the way back to where they began. If a running mean of the losses,
    over about ten steps, is above that of guessing, they and the state begin again. Also returns how often they do.
    """
    model = CharRNN(config, V, seed=2)
    trained = [variable.numpy() for variable in model.trainable_variables]
    state, losses, recent, set_back = model.zero_state(1), [], 0.0, 0
    for start in range(0, len(ids) - 1, 5):
        with tf.GradientTape() as tape:
            segment = []
            for t in range(start, min(start + 5, len(ids) - 1)):
                logits, state = model.step(tf.constant(ids[t : t + 1]), state)
                segment.append(-tf.nn.log_softmax(logits)[0, ids[t + 1]])
            loss = tf.add_n(segment) / 5
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_variables)]
        norm = float(tf.linalg.global_norm(gradients))
        for variable, gradient, origin in zip(model.trainable_variables, gradients, trained, strict=True):
            back = 0.003 * (origin - variable.numpy())
            variable.assign(variable - RATE * gradient / max(norm, 1.0) + back)
        losses += [float(one) for one in segment]
        recent = 0.9 * recent + 0.1 * float(loss)
        if recent > np.log(V):
            recent, set_back, state = 0.0, set_back + 1, model.zero_state(1)
            for variable, origin in zip(model.trainable_variables, trained, strict=True):
                variable.assign(origin)
    return losses, set_back


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize(('count', 'num_context'), [(32, 0), (158, 7)])
def test_losses_equal_the_rule(name, count, num_context, monkeypatch):
    """Texts of less than a call and of more than three; the context is adapted to and not counted."""
    monkeypatch.setattr(dynamic_evaluation, '_SEGMENTS_PER_CALL', 10)
    text = _text(count, num_context)
    model = CharRNN(MODELS[name], V, seed=2)
    before = [variable.numpy() for variable in model.trainable_variables]
    scorer = DynamicScorer(model, jit=name == 'rnn')
    scorer.losses(_text(20), 1.0)  # the next text begins with the trained weights again
    found = scorer.losses(text, RATE)
    expected, _ = _by_hand(MODELS[name], text.ids[:])
    np.testing.assert_allclose(found, expected[-len(text.targets) :], rtol=2e-3)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_rate_of_zero_is_the_static_evaluation():
    text, model = _text(100), CharRNN(MODELS['rnn'], V, seed=2)
    found = DynamicScorer(model, jit=False).losses(text, 0.0)
    np.testing.assert_allclose(found, Scorer(model, jit=False).losses(text), rtol=1e-5)


def test_weights_that_are_worse_than_guessing_are_set_back():
    """Those of a model so bad that it happens every few segments."""
    text, config = _text(100), ModelConfig(hidden_size=12, init_scale=2.0)
    expected, set_back = _by_hand(config, text.ids[:])
    assert set_back > 5
    found = DynamicScorer(CharRNN(config, V, seed=2), jit=False).losses(text, RATE)
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_repeated_text_gets_easier():
    ids = np.tile(np.arange(V, dtype=np.int32), 60)
    scorer = DynamicScorer(CharRNN(MODELS['rnn'], V, seed=2), jit=False)
    losses = scorer.losses(EncodedText(Ids.of(ids), 0, len(ids), 0), 1.0)
    assert losses[-50:].mean() < 0.2 * losses[:50].mean()
