"""One update, and many in one call: the state that each reads, and when they stop."""

import numpy as np
import pytest
import tensorflow as tf

from data.windows import Windows
from pipeline import optimizers
from pipeline.config import ModelConfig, TrainingConfig
from pipeline.model import CharRNN
from pipeline.updates import CompiledUpdates, Updates

B, T, H, V = 4, 6, 12, 20


def _updates(**settings) -> Updates:
    """Updates by SGD on consecutive minibatches, without XLA."""
    config = TrainingConfig(jit=False, **settings)
    model = CharRNN(ModelConfig(hidden_size=H, init_scale=0.1), V, seed=1)
    windows = Windows(1000, B, T, 'consecutive', context=config.bptt_windows - 1)
    return Updates(model, None, optimizers.optimizer(config, windows.steps_per_epoch), windows, config)


def _ids(num_steps: int, seed: int) -> tf.Tensor:
    return tf.random.stateless_uniform([B, num_steps], [seed, 0], maxval=V, dtype=tf.int32)


def _some_state() -> tuple[tf.Tensor, ...]:
    return (tf.random.stateless_normal([B, H], [1, 2]),)


def test_reset_rows_start_from_a_zero_state():
    """At a rate of almost 1 every row is reset."""
    minibatch, step = (_ids(T, 1), _ids(T, 2)), tf.constant(0)
    always, never = _updates(state_reset_rate=1 - 1e-12), _updates()
    carried, *_ = never.loss_and_gradients(*minibatch, _some_state(), step)
    from_zero, *_ = never.loss_and_gradients(*minibatch, never.model.zero_state(B), step)
    assert float(carried) != float(from_zero)
    assert float(always.loss_and_gradients(*minibatch, _some_state(), step)[0]) == float(from_zero)


def test_context_windows_of_reset_rows_start_from_a_zero_state():
    """The state that is carried on is the one after the first context window, read from zero."""
    updates, inputs = _updates(bptt_windows=2, state_reset_rate=1 - 1e-12), _ids(2 * T, 1)
    *_, carried = updates.loss_and_gradients(inputs, _ids(T, 2), _some_state(), tf.constant(1))
    _, expected = updates.model(inputs[:, :T], updates.model.zero_state(B))
    np.testing.assert_array_equal(carried[0], expected[0])


def test_reset_rows_are_a_random_fraction_and_depend_on_the_step():
    updates, ones = _updates(state_reset_rate=0.3), (tf.ones([B, H]),)
    masks = np.array([updates._reset(ones, tf.constant(step), None)[0].numpy() for step in range(500)])
    np.testing.assert_array_equal(masks, np.broadcast_to(masks[:, :, :1], masks.shape))  # whole rows
    assert np.mean(masks == 0) == pytest.approx(0.3, abs=0.03)
    assert len({mask.tobytes() for mask in masks}) == 2**B


@pytest.mark.parametrize('num_groups', [1, 2])
def test_no_update_follows_one_whose_loss_is_not_finite(num_groups):
    """Only the second minibatch has the character whose weights are not numbers."""
    updates = _updates()
    updates.optimizer.build(updates.model.trainable_variables)
    bad, w_xh = V - 1, updates.model.layers[0].w_xh
    w_xh.assign(tf.tensor_scatter_nd_update(w_xh, [[bad]], [[np.nan] * H]))
    inputs = np.zeros([3, B, T], np.int32)
    inputs[1, -1, -1] = bad
    train, state = CompiledUpdates(updates, num_groups, whole=num_groups == 1), updates.model.zero_state(B)
    losses, norms, _ = train(tf.constant(inputs), tf.zeros([3, B, T], tf.int32), tf.constant(3), state)
    assert np.isfinite(losses).tolist() == np.isfinite(norms).tolist() == [True, False, True]
    assert (float(losses[2]), float(norms[2]), int(updates.step)) == (0, 0, 1)
