"""The recurrences against plain autodiff and against Keras, and their shape in the graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import cells, devices

T, B, H = 7, 3, 5
KINDS = [('rnn', 'tanh'), ('rnn', 'relu'), ('gru', 'tanh'), ('lstm', 'tanh')]


def _gru_by_hand(projected, state, w_hh):
    (h,), (x_z, x_r, x_h), (w_z, w_r, w_h) = state, tf.split(projected, 3, -1), tf.split(w_hh, 3, -1)
    z, r = tf.sigmoid(x_z + h @ w_z), tf.sigmoid(x_r + h @ w_r)
    return (z * h + (1 - z) * tf.tanh(x_h + (r * h) @ w_h),)


def _lstm_by_hand(projected, state, w_hh):
    (h, c), (x_i, x_f, x_o, x_c), (w_i, w_f, w_o, w_c) = state, tf.split(projected, 4, -1), tf.split(w_hh, 4, -1)
    i, f, o = tf.sigmoid(x_i + h @ w_i), tf.sigmoid(x_f + h @ w_f), tf.sigmoid(x_o + h @ w_o)
    c = f * c + i * tf.tanh(x_c + h @ w_c)
    return o * tf.tanh(c), c


STEPS = {
    ('rnn', 'tanh'): lambda projected, state, w_hh: (tf.tanh(projected + state[0] @ w_hh),),
    ('rnn', 'relu'): lambda projected, state, w_hh: (tf.nn.relu(projected + state[0] @ w_hh),),
    ('gru', 'tanh'): _gru_by_hand,
    ('lstm', 'tanh'): _lstm_by_hand,
}


def _arguments(cell: cells.Cell, num_steps: int = T) -> tuple[tf.Tensor, cells.State, tf.Tensor]:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(random.normal(size=shape), tf.float32)

    width = len(cell.gates) * H
    return normal(num_steps, B, width), tuple(normal(B, H) for _ in range(cell.num_parts)), normal(H, width)


def _unrolled_by_hand(kind):
    """The same recurrence, with nothing but operations that TensorFlow differentiates itself."""

    def unroll(projected, state, w_hh):
        outputs = []
        for projected_t in tf.unstack(projected):
            state = STEPS[kind](projected_t, state, w_hh)
            outputs.append(state[0])
        return tf.stack(outputs), state

    return unroll


def _values_and_gradients(unroll, arguments):
    """Another weight in the loss for each output and for each number of the last state."""
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        outputs, last, *_ = unroll(*arguments)
        values = [outputs, *last]
        loss = sum(
            tf.reduce_sum(tf.reshape(tf.sin(float(n) + tf.range(tf.size(v), dtype=tf.float32)), v.shape) * v)
            for n, v in enumerate(values)
        )
    return values, tf.nest.flatten(tape.gradient(loss, arguments))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('num_steps', [1, T])
@pytest.mark.parametrize('how', ['eager', 'graph', 'xla', 'xla, transposed weights'])
def test_written_out_gradient_equals_autodiff(kind, num_steps, how, monkeypatch):
    monkeypatch.setattr(devices, 'stores_transposed', lambda size: 'transposed' in how)
    cell = cells.make(*kind)
    arguments = _arguments(cell, num_steps)

    def ours(arguments):
        return _values_and_gradients(cell.unroll, arguments)

    ours = ours if how == 'eager' else tf.function(ours, jit_compile='xla' in how)
    values, gradients = ours(arguments)
    expected_values, expected = _values_and_gradients(_unrolled_by_hand(kind), arguments)
    for found, truth in zip([*values, *gradients], [*expected_values, *expected], strict=True):
        assert found.shape == truth.shape
        assert tf.norm(found - truth) <= 1e-5 * tf.norm(truth)


@pytest.mark.parametrize('part', [0, 1])
def test_loss_on_one_part_of_the_last_state_reaches_the_first_state(part):
    """The memory of an lstm, too, although no output is it."""
    cell = cells.make('lstm')
    projected, state, w_hh = _arguments(cell)
    gradients = []
    for unroll in (cell.unroll, _unrolled_by_hand(('lstm', 'tanh'))):
        with tf.GradientTape() as tape:
            tape.watch(state)
            loss = tf.reduce_sum(unroll(projected, state, w_hh)[1][part])
        gradients.append(tape.gradient(loss, state))
    for found, truth in zip(*gradients, strict=True):
        assert tf.norm(truth) > 0
        assert tf.norm(found - truth) <= 1e-5 * tf.norm(truth)


@pytest.mark.parametrize('kind', KINDS)
def test_step_equals_the_equations(kind):
    cell = cells.make(*kind)
    projected, state, w_hh = _arguments(cell)
    found, expected = cell.forward(projected[0], state, cell.products(w_hh))[0], STEPS[kind](projected[0], state, w_hh)
    for part, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, truth, rtol=1e-5, atol=1e-6)


def _by_gate(cell: cells.Cell, order: tuple[str, ...], weight: tf.Tensor) -> tf.Tensor:
    blocks = dict(zip(cell.gates, tf.split(weight, len(cell.gates), -1), strict=True))
    return tf.concat([blocks[gate] for gate in order], -1)


@pytest.mark.parametrize(
    ('name', 'order', 'layer'),
    [
        ('gru', ('z', 'r', 'h'), lambda: keras.layers.GRU(H, reset_after=False, return_sequences=True)),
        ('lstm', ('i', 'f', 'c', 'o'), lambda: keras.layers.LSTM(H, return_sequences=True)),
    ],
)
def test_outputs_equal_keras_with_the_same_weights(name, order, layer):
    cell, layer, size = cells.make(name), layer(), 4
    random = np.random.default_rng(1)
    width = len(cell.gates) * H
    x, w_xh, w_hh, b_h = (
        tf.constant(random.normal(size=s), tf.float32) for s in ([T, B, size], [size, width], [H, width], [width])
    )
    state = tuple(tf.constant(random.normal(size=[B, H]), tf.float32) for _ in range(cell.num_parts))
    layer.build([B, T, size])
    layer.set_weights([_by_gate(cell, order, weight).numpy() for weight in (w_xh, w_hh, b_h)])
    expected = layer(tf.transpose(x, [1, 0, 2]), initial_state=list(state))
    outputs, *_ = cell.unroll(tf.tensordot(x, w_xh, 1) + b_h, state, w_hh)
    np.testing.assert_allclose(tf.transpose(outputs, [1, 0, 2]), expected, rtol=1e-5, atol=1e-5)


# Where the state meets the weights twice, one after the other, there are two products each way.
@pytest.mark.parametrize(('kind', 'products'), [(kind, 2 if kind[0] == 'gru' else 1) for kind in KINDS])
def test_recurrent_weight_gradient_is_one_product_over_all_rows(kind, products):
    """Inside the loops are only the products that carry the state; the gradient of a weight is outside."""
    cell = cells.make(*kind)

    @tf.function
    def gradients(arguments):
        return _values_and_gradients(cell.unroll, arguments)[1]

    graph = gradients.get_concrete_function(_arguments(cell)).graph.as_graph_def()
    in_loops = [
        [n.op for n in f.node_def].count('MatMul') for f in graph.library.function if '_body' in f.signature.name
    ]
    assert sorted(in_loops) == [products, products]
    assert [n.op for n in graph.node].count('MatMul') == products
