"""CharRNN: what its outputs may depend on, and that every way to the same numbers gives them."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import ModelConfig
from pipeline.model import CharRNN, cross_entropy
from tests import oracle

B, T = 4, 9


@pytest.fixture
def ids(model) -> tf.Tensor:
    return tf.random.stateless_uniform([B, T], [1, 2], maxval=model.vocabulary_size, dtype=tf.int32)


def test_has_the_parameters_that_the_section_has():
    assert CharRNN(ModelConfig(), vocabulary_size=1027).num_parameters == 592_643


def test_first_weights_are_normal_with_the_scale_asked_for_and_biases_zero():
    weights = CharRNN(ModelConfig(init_scale=0.02), vocabulary_size=500)
    for matrix in (weights.w_xh, weights.w_hh, weights.w_hq):
        assert abs(np.mean(matrix)) < 3e-4
        assert abs(np.std(matrix) - 0.02) < 2e-4
    assert not np.any(weights.b_h)
    assert not np.any(weights.b_q)


def test_seed_chooses_the_first_weights():
    first, same, other = (CharRNN(ModelConfig(hidden_size=8), 20, seed) for seed in (1, 1, 2))
    for a, b, c in zip(first.trainable_variables, same.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape.rank == 1 or np.all(a.numpy() != c.numpy())
    assert np.all(first.w_xh[:8] != first.w_hh)  # each matrix draws for itself


def test_a_window_in_two_parts_gives_what_the_whole_gives(model, ids):
    whole, last = model(ids, model.zero_state(B))
    first_logits, state = model(ids[:, :4], model.zero_state(B))
    second_logits, second_state = model(ids[:, 4:], state)
    np.testing.assert_allclose(tf.concat([first_logits, second_logits], 0), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second_state[0], last[0], rtol=1e-5, atol=1e-6)


def test_single_steps_give_what_a_window_gives(model, ids):
    whole, last = model(ids, model.zero_state(B))
    state = model.zero_state(B)
    for t in range(T):
        logits, state = model.step(ids[:, t], state)
        np.testing.assert_allclose(logits, whole[t], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state[0], last[0], rtol=1e-5, atol=1e-6)


def test_no_output_depends_on_a_later_character_or_another_row(model, ids):
    """Changing one character changes its own row, from that moment on, and nothing else."""
    row, moment = 2, 5
    changed = tf.tensor_scatter_nd_update(ids, [[row, moment]], [(ids[row, moment] + 1) % model.vocabulary_size])
    before, _ = model(ids, model.zero_state(B))
    after, _ = model(changed, model.zero_state(B))
    differs = np.any(before.numpy() != after.numpy(), axis=-1)  # [T, B]
    expected = np.zeros([T, B], bool)
    expected[moment:, row] = True
    np.testing.assert_array_equal(differs, expected)


@pytest.mark.parametrize('activation', ['tanh', 'relu'])
def test_loss_and_gradients_are_those_of_the_equations(activation, ids, vocabulary):
    model = CharRNN(ModelConfig(hidden_size=16, init_scale=0.3, activation=activation), len(vocabulary))
    state = tf.random.stateless_normal([B, 16], [5, 6])
    targets = tf.roll(ids, -1, axis=1)
    with tf.GradientTape() as tape:
        logits, last = model(ids, (state,))
        loss = cross_entropy(logits, targets)
    parameters = {v.name.split(':')[0]: v for v in model.trainable_variables}
    gradients = tape.gradient(loss, parameters)

    as_float64 = {name: v.numpy().astype(float) for name, v in parameters.items()}
    expected_loss, expected, expected_last = oracle.loss_and_gradients(
        as_float64, ids.numpy(), targets.numpy(), state.numpy().astype(float), activation
    )
    assert float(loss) == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(last[0], expected_last, rtol=1e-4, atol=1e-6)
    for name, truth in expected.items():
        difference = np.linalg.norm(tf.convert_to_tensor(gradients[name]) - truth)
        assert difference <= 1e-5 * np.linalg.norm(truth), name
