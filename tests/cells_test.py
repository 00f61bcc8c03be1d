"""The recurrence against plain autodiff, and its shape in the graph."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline import cells

T, B, H = 7, 3, 5


def _arguments(num_steps: int) -> list[tf.Tensor]:
    random = np.random.default_rng(0)
    shapes = [[num_steps, B, H], [B, H], [H, H]]
    return [tf.constant(random.normal(size=shape), tf.float32) for shape in shapes]


def _unrolled_by_hand(projected, hidden, w_hh, activation):
    """The same recurrence, with nothing but operations that TensorFlow differentiates itself."""
    states = []
    for projected_t in tf.unstack(projected):
        hidden = {'tanh': tf.tanh, 'relu': tf.nn.relu}[activation](projected_t + tf.matmul(hidden, w_hh))
        states.append(hidden)
    return tf.stack(states)


def _value_and_gradients(function, arguments, activation):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        states = function(*arguments, activation)
        weights = tf.cast(tf.reshape(tf.range(tf.size(states)), states.shape), tf.float32)
        loss = tf.reduce_sum(tf.sin(weights) * states)  # another weight for each output, the last state's too
    return states, tape.gradient(loss, arguments)


@pytest.mark.parametrize('activation', ['tanh', 'relu'])
@pytest.mark.parametrize('num_steps', [1, T])
@pytest.mark.parametrize('how', ['eager', 'graph', 'xla'])
def test_written_out_gradient_equals_autodiff(activation, num_steps, how):
    ours = cells.rnn if how == 'eager' else tf.function(cells.rnn, jit_compile=how == 'xla')
    arguments = _arguments(num_steps)
    states, gradients = _value_and_gradients(ours, arguments, activation)
    expected_states, expected = _value_and_gradients(_unrolled_by_hand, arguments, activation)
    np.testing.assert_allclose(states, expected_states, rtol=1e-5, atol=1e-6)
    for gradient, truth in zip(gradients, expected, strict=True):
        assert tf.norm(gradient - truth) <= 1e-5 * tf.norm(truth)


def test_recurrent_weight_gradient_is_one_product_over_all_rows():
    """One matmul a time step each way is all that may stand inside the loops."""

    @tf.function
    def gradients(arguments):
        return _value_and_gradients(cells.rnn, arguments, 'tanh')[1]

    graph = gradients.get_concrete_function(_arguments(T)).graph.as_graph_def()
    in_loops = [
        [n.op for n in f.node_def].count('MatMul') for f in graph.library.function if '_body' in f.signature.name
    ]
    assert sorted(in_loops) == [1, 1]
    assert [n.op for n in graph.node].count('MatMul') == 1
