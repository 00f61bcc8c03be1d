"""CharRNN: what its outputs may depend on, and that every way to the same numbers gives them."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from pipeline import devices
from pipeline.config import ModelConfig
from pipeline.model import CharRNN, cross_entropy
from pipeline.weight_gradients import Factors, added, summands
from tests import oracle

B, T, H, V = 4, 9, 16, 24
# (cell, activation, layers, embedding, tied)
KINDS = [
    (*kind, layers, 0, False) for kind in (('rnn', 'tanh'), ('gru', 'tanh'), ('lstm', 'tanh')) for layers in (1, 2)
]
KINDS += [('rnn', 'relu', 1, 0, False), ('rnn', 'tanh', 1, 10, False), ('gru', 'tanh', 1, H, True)]
KINDS += [('lstm', 'tanh', 2, 10, True)]


@pytest.fixture(params=KINDS, ids=lambda kind: '-'.join(map(str, kind)))
def model(request) -> CharRNN:
    cell, activation, num_layers, embedding_size, tied = request.param
    config = ModelConfig(
        cell=cell,
        activation=activation,
        num_layers=num_layers,
        hidden_size=H,
        init_scale=0.3,
        embedding_size=embedding_size,
        tie_embeddings=tied,
    )
    model = CharRNN(config, V, seed=3)
    for number, variable in enumerate(model.trainable_variables):  # biases that differ, too
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [7, number]))
    return model


@pytest.fixture
def ids() -> tf.Tensor:
    return tf.random.stateless_uniform([B, T], [1, 2], maxval=V, dtype=tf.int32)


def _some_state(model: CharRNN) -> tuple[tf.Tensor, ...]:
    return tuple(tf.random.stateless_normal([B, H], [5, number]) for number in range(len(model.zero_state(B))))


def _assert_close(found, expected) -> None:
    assert len(found) == len(expected)
    for one, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, truth, rtol=1e-5, atol=2e-6)


def _relative_error(found, truth) -> float:
    return np.linalg.norm(np.subtract(tf.convert_to_tensor(found), truth)) / np.linalg.norm(truth)


def test_number_of_parameters_equals_the_section():
    assert CharRNN(ModelConfig(), vocabulary_size=1027).num_parameters == 592_643


@pytest.mark.parametrize(('cell', 'gates', 'parts'), [('rnn', 1, 1), ('gru', 3, 1), ('lstm', 4, 2)])
@pytest.mark.parametrize('num_layers', [1, 2, 3])
def test_every_gate_of_every_layer_has_weights_and_a_bias(cell, gates, parts, num_layers):
    model = CharRNN(ModelConfig(cell=cell, num_layers=num_layers, hidden_size=H), V)
    first, above = V * H + H * H + H, H * H + H * H + H
    assert model.num_parameters == gates * (first + (num_layers - 1) * above) + H * V + V
    assert [part.shape for part in model.zero_state(B)] == [[B, H]] * parts * num_layers


def test_names_of_weights_equal_those_in_checkpoints():
    one, two = (CharRNN(ModelConfig(num_layers=layers, hidden_size=H), V) for layers in (1, 2))
    of_one = {'w_xh', 'w_hh', 'b_h', 'w_hq', 'b_q'}
    assert {v.name.split(':')[0] for v in one.trainable_variables} == of_one
    assert {v.name.split(':')[0] for v in two.trainable_variables} == of_one | {'w_xh_2', 'w_hh_2', 'b_h_2'}
    for name in of_one:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_initial_weights_are_normal_and_biases_zero():
    weights = CharRNN(ModelConfig(init_scale=0.02, num_layers=2), vocabulary_size=500)
    for matrix in (weights.w_xh, weights.w_hh, weights.w_hq, weights.w_xh_2, weights.w_hh_2):
        assert abs(np.mean(matrix)) < 3e-4
        assert abs(np.std(matrix) - 0.02) < 2e-4
    for bias in (weights.b_h, weights.b_h_2, weights.b_q):
        assert not np.any(bias)


def test_forget_bias_sets_only_the_biases_of_the_forget_gates():
    model = CharRNN(ModelConfig(cell='lstm', num_layers=2, hidden_size=H, forget_bias=1.5), V)
    for bias in (model.b_h, model.b_h_2):
        np.testing.assert_array_equal(np.split(bias, 4), np.outer([0, 1.5, 0, 0], np.ones(H)))  # i, f, o, c


def test_seed_determines_the_initial_weights():
    first, same, other = (CharRNN(ModelConfig(hidden_size=8, num_layers=2), 20, seed) for seed in (1, 1, 2))
    for a, b, c in zip(first.trainable_variables, same.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape.rank == 1 or np.all(a.numpy() != c.numpy())
    # each matrix draws for itself
    square = [first.w_xh[:8], first.w_hh, first.w_hq[:, :8], first.w_xh_2, first.w_hh_2]
    assert len({float(matrix[0, 0]) for matrix in square}) == len(square)


def test_window_in_two_parts_equals_the_whole_window(model, ids):
    before = _some_state(model)
    whole, last = model(ids, before)
    first_logits, state = model(ids[:, :4], before)
    second_logits, second_state = model(ids[:, 4:], state)
    _assert_close([tf.concat([first_logits, second_logits], 0)], [whole])
    _assert_close(second_state, last)


def test_single_steps_equal_a_window(model, ids):
    state = _some_state(model)
    whole, last = model(ids, state)
    for t in range(T):
        logits, state = model.step(ids[:, t], state)
        _assert_close([logits], [whole[t]])
    _assert_close(state, last)


def test_graph_of_a_step_is_fast(model, monkeypatch):
    """Streams run it for each character: large weights are not arranged, and no bias would be joined to a product."""
    monkeypatch.setattr(devices, 'stores_transposed', lambda size: True)
    state = [tf.TensorSpec([None, H]) for _ in model.zero_state(1)]
    graph = tf.function(model.step).get_concrete_function(tf.TensorSpec([None], tf.int32), state).graph
    operations = graph.get_operations()
    assert 'Transpose' not in {operation.type for operation in operations}
    products = [operation for operation in operations if operation.type == 'MatMul']
    assert products
    for product in products:
        for consumer in product.outputs[0].consumers():
            assert 1 not in [given.shape.rank for given in consumer.inputs]


def test_output_depends_only_on_earlier_characters_of_its_row(model, ids):
    """Changing one character changes its own row, from that moment on, and nothing else."""
    row, moment = 2, 5
    changed = tf.tensor_scatter_nd_update(ids, [[row, moment]], [(ids[row, moment] + 1) % model.vocabulary_size])
    before, _ = model(ids, model.zero_state(B))
    after, _ = model(changed, model.zero_state(B))
    differs = np.any(before.numpy() != after.numpy(), axis=-1)  # [T, B]
    expected = np.zeros([T, B], bool)
    expected[moment:, row] = True
    np.testing.assert_array_equal(differs, expected)


def test_loss_and_gradients_equal_the_equations(model, ids):
    state, targets = _some_state(model), tf.roll(ids, -1, axis=1)
    with tf.GradientTape() as tape:
        logits, last = model(ids, state)
        loss = cross_entropy(logits, targets)
    parameters = {v.name.split(':')[0]: v for v in model.trainable_variables}
    gradients = tape.gradient(loss, parameters)

    as_float64 = {name: v.numpy().astype(float) for name, v in parameters.items()}
    expected_loss, expected, expected_last = oracle.loss_and_gradients(
        oracle.without_embeddings(as_float64, model.config.tie_embeddings),
        ids.numpy(),
        targets.numpy(),
        tuple(part.numpy().astype(float) for part in state),
        model.config.activation if model.config.cell == 'rnn' else model.config.cell,
    )
    expected = _through_embeddings(expected, as_float64, model.config.tie_embeddings)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    _assert_close(last, expected_last)
    assert expected.keys() == gradients.keys()
    for name, truth in expected.items():
        assert _relative_error(gradients[name], truth) <= 1e-5, name


def _through_embeddings(gradients: oracle.Parameters, p: oracle.Parameters, tied: bool) -> oracle.Parameters:
    """The gradients of the weights `p` from those of `oracle.without_embeddings(p)`, by the chain rule."""
    if 'embedding' not in p:
        return gradients
    found = gradients | {'w_xh': p['embedding'].T @ gradients['w_xh']}
    found['embedding'] = gradients['w_xh'] @ p['w_xh'].T
    if tied:
        found['embedding'] += gradients['w_hq'].T @ p.get('w_hq', np.eye(H))
        found['w_hq'] = gradients['w_hq'] @ p['embedding']
    return {name: found[name] for name in p}


def test_tied_model_has_fewer_weights():
    """The output layer adds no weights, or a projection if the sizes differ."""
    sizes = [
        CharRNN(ModelConfig(hidden_size=H, embedding_size=size, tie_embeddings=tied), V).num_parameters
        for size, tied in ((H, False), (H, True), (10, True))
    ]
    assert sizes == [
        V * H + 2 * H * H + H + H * V + V,
        V * H + 2 * H * H + H + V,
        V * 10 + 10 * H + H * H + H + H * 10 + V,
    ]


@pytest.mark.slow
@pytest.mark.parametrize('how', ['eager', 'graph', 'xla'])
def test_gradients_equal_autodiff_through_single_steps(model, ids, how):
    """`step` has no gradient of its own: TensorFlow differentiates it. The loss has the last state in it, too."""
    state, targets = _some_state(model), tf.roll(ids, -1, axis=1)
    variables = model.trainable_variables

    def single_steps(ids, state):
        logits = []
        for ids_t in tf.unstack(ids, axis=1):
            logits_t, state = model.step(ids_t, state)
            logits.append(logits_t)
        return tf.stack(logits), state

    def gradients(read, state):
        with tf.GradientTape() as tape:
            tape.watch(state)
            logits, last = read(ids, state)
            loss = cross_entropy(logits, targets)
            loss += sum(tf.reduce_mean(tf.cos(float(n) + part)) for n, part in enumerate(last))
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, [*variables, *state])]

    ours = gradients if how == 'eager' else tf.function(gradients, jit_compile=how == 'xla')
    for found, truth in zip(ours(model, state), gradients(single_steps, state), strict=True):
        assert _relative_error(found, truth) <= 1e-5


def test_factors_of_the_gradients_are_those_of_all_products(model, ids):
    """Multiplied and added up, they are the gradients of the tape, of two groups of rows, too."""
    state, targets, variables = _some_state(model), tf.roll(ids, -1, axis=1), model.trainable_variables

    def loss_and_products(rows):
        forward = model.forward(ids[rows], tuple(part[rows] for part in state))
        return cross_entropy(forward.logits, targets[rows]) / 2, forward.products

    groups = slice(0, B // 2), slice(B // 2, B)
    with tf.GradientTape() as tape:
        loss = sum(loss_and_products(rows)[0] for rows in groups)
    expected = [tf.convert_to_tensor(d) for d in tape.gradient(loss, variables)]
    found = []
    for rows in groups:
        with tf.GradientTape() as tape:
            loss, products = loss_and_products(rows)
        found.append(summands(tape, loss, products, variables))
    for variable, *gradients, truth in zip(variables, *found, expected, strict=True):
        assert _relative_error(added(*gradients), truth) <= 1e-5, variable.name
        is_gathered = variable is (model.layers[0].w_xh if model.embedding is None else model.embedding)
        has_factors = [isinstance(part, Factors) for part in itertools.chain(*gradients)]
        assert has_factors == [variable.shape.rank == 2 and not is_gathered] * 2, variable.name


def _with_dropout(dropout: float, cell: str = 'rnn', num_layers: int = 2) -> CharRNN:
    return CharRNN(ModelConfig(cell=cell, num_layers=num_layers, hidden_size=H, init_scale=0.5, dropout=dropout), V)


@pytest.mark.parametrize('cell', ['rnn', 'gru', 'lstm'])
def test_dropout_is_a_function_of_its_seed(cell, ids):
    model = _with_dropout(0.5, cell)

    def logits(*seed: int) -> np.ndarray:
        return model(ids, model.zero_state(B), tf.constant(seed))[0].numpy()

    np.testing.assert_array_equal(logits(3, 7), logits(3, 7))
    for other in ((3, 8), (4, 7)):
        assert np.mean(logits(3, 7) != logits(*other)) > 0.99


@pytest.mark.parametrize('jit', [False, True])
def test_dropout_is_the_same_in_a_graph(jit, ids):
    model, seed = _with_dropout(0.5), tf.constant([3, 7])
    in_graph = tf.function(model.__call__, jit_compile=jit)
    found, expected = in_graph(ids, model.zero_state(B), seed)[0], model(ids, model.zero_state(B), seed)[0]
    assert _relative_error(found, expected) <= 1e-5


def test_dropout_is_off_without_a_seed_and_in_single_steps(ids):
    model, without = _with_dropout(0.5), _with_dropout(0)
    logits, _ = model(ids, model.zero_state(B))
    np.testing.assert_array_equal(logits, without(ids, model.zero_state(B), tf.constant([3, 7]))[0])
    np.testing.assert_array_equal(
        model.step(ids[:, 0], model.zero_state(B))[0], without.step(ids[:, 0], model.zero_state(B))[0]
    )


def test_input_dropout_drops_embeddings_in_training_only(ids):
    config = ModelConfig(hidden_size=H, init_scale=0.5, embedding_size=8)
    with_dropout, without = (CharRNN(c, V) for c in (dataclasses.replace(config, input_dropout=0.5), config))
    zero = without.zero_state(B)
    seed = tf.constant([3, 7])
    np.testing.assert_array_equal(with_dropout(ids, zero)[0], without(ids, zero)[0])
    np.testing.assert_array_equal(with_dropout(ids, zero, seed)[0], with_dropout(ids, zero, seed)[0])
    assert np.mean(with_dropout(ids, zero, seed)[0] != without(ids, zero, seed)[0]) > 0.99


def test_input_dropout_drops_the_same_parts_in_all_steps_of_a_row():
    """All vectors are ones and pass through unchanged, so the logits are the mask."""
    size, rows = 64, 50
    model = CharRNN(ModelConfig(activation='relu', hidden_size=size, embedding_size=size, input_dropout=0.25), size)
    for variable in model.trainable_variables:
        name = variable.name.split(':')[0]
        values = {'embedding': np.ones, 'w_xh': lambda _: np.eye(size), 'w_hq': lambda _: np.eye(size)}
        variable.assign(values.get(name, np.zeros)(variable.shape))
    logits, _ = model(tf.zeros([rows, 9], tf.int32), model.zero_state(rows), tf.constant([1, 2]))
    np.testing.assert_array_equal(logits, np.broadcast_to(logits[0], logits.shape))
    values, counts = np.unique(logits[0], return_counts=True)
    np.testing.assert_allclose(values, [0, 1 / 0.75], rtol=1e-6)
    assert counts[0] == pytest.approx(rows * size / 4, abs=100)  # 4 standard deviations
    assert np.mean(logits[0][0] != logits[0][1]) > 0.2  # another mask in each row


def test_dropout_drops_its_rate_and_keeps_the_expectation():
    """One unit, all weights 1 and ReLU: each row of one step has 0 or the value, scaled up."""
    model = _units_of_one(num_layers=1, dropout=0.25)
    logits, (state,) = model(tf.zeros([20_000, 1], tf.int32), model.zero_state(20_000), tf.constant([1, 2]))
    values, counts = np.unique(logits, return_counts=True)
    np.testing.assert_allclose(values, [0, 1 / 0.75], rtol=1e-6)
    assert counts[0] == pytest.approx(5000, abs=250)  # 4 standard deviations
    np.testing.assert_array_equal(state, tf.ones([20_000, 1]))  # not in the layer's own recurrence


def test_each_layer_has_its_own_dropout_mask():
    model = _units_of_one(num_layers=2, dropout=0.5)
    logits, (first, second) = model(tf.zeros([20_000, 1], tf.int32), model.zero_state(20_000), tf.constant([1, 2]))
    assert np.mean(second.numpy() > 0) == pytest.approx(0.5, abs=0.015)  # between the layers
    assert np.mean(logits.numpy() > 0) == pytest.approx(0.25, abs=0.013)  # the same rows twice would be 0.5
    np.testing.assert_array_equal(first, tf.ones([20_000, 1]))


def _units_of_one(num_layers: int, dropout: float) -> CharRNN:
    config = ModelConfig(activation='relu', num_layers=num_layers, hidden_size=1, init_scale=0, dropout=dropout)
    model = CharRNN(config, 1)
    for weights in (*(layer.w_xh for layer in model.layers), model.w_hq):
        weights.assign([[1.0]])
    return model
