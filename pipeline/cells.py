"""The recurrent cells: one step, and T steps with back-propagation through time written out.

Shapes are those of `model.py`; G is the number of gates of a cell. Sequences are time-major, `[T, B, ...]`. A
sequence `[T, B, G·H]`, a weight `[H, G·H]` and a bias `[G·H]` hold the gates side by side in the
order of `Cell.gates`.

The gradient is back-propagation through time (Werbos 1990), with everything that needs no carried gradient moved out of
the loop. Before the loop, the elementwise derivatives are computed for all steps. The loop carries d(state) and writes
d(pre-activations). After the loop, the gradient of the recurrent weight is one product over all T·B rows.

Each loop overwrites what it has read: the forward loop the pre-activations with the gates, the backward loop the
derivatives with d(pre-activations). So XLA neither allocates nor fills a second array of that size.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from pipeline import devices
from pipeline.weight_gradients import WeightProduct, factors, multiplied

State = tuple[tf.Tensor, ...]
Tensors = tuple[tf.Tensor, ...]
Product = Callable[[tf.Tensor], tf.Tensor]
"""`[B, I]` -> `[B, J]`, the product with a matrix that does not change in a loop."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A recurrent cell. Its state is a tuple of `num_parts` tensors `[B, H]`; the first is its output."""

    gates: tuple[str, ...]
    """Names of the gates in the equations, in the order of the weights' columns."""
    num_parts: int
    forward: Callable[[tf.Tensor, State, tuple[Product, ...]], tuple[State, tf.Tensor]]
    """`(projected [B, G·H], state, products)` -> the new state, and the gates after their activation `[B, G·H]`."""
    derivatives: Callable[[State, State, tf.Tensor], Tensors]
    """`(new states, previous states, gates)` of all T steps -> what `backward` uses: the factors of
    d(pre-activations), `[T, B, G·H]`, and others, `[T, B, H]`."""
    backward: Callable[[State, Tensors, tuple[Product, ...]], tuple[State, tf.Tensor]]
    """`(d(new state), derivatives, products with the transposed weights)` of one step -> d(previous state), and
    d(pre-activations) `[B, G·H]`."""
    split: Callable[[tf.Tensor], Tensors] = lambda w_hh: (w_hh,)
    """`w_hh [H, G·H]` -> the matrices that one step multiplies by, blocks of columns."""
    inputs: Callable[[tf.Tensor, tf.Tensor], Tensors] = lambda before, gates: (before,)
    """`(previous hidden states, gates)` of all T steps -> what each of these matrices multiplies, `[T, B, H]`."""

    def products(self, w_hh: tf.Tensor) -> tuple[Product, ...]:
        """Returns the products of one step with `w_hh`. Called once, before a loop, it splits the weights once."""
        return tuple(map(_product_with, self.split(w_hh)))

    def unroll(self, projected: tf.Tensor, state: State, w_hh: tf.Variable) -> tuple[tf.Tensor, State, WeightProduct]:
        """Runs T steps over `projected`, `[T, B, G·H]`.

        Returns the outputs `[T, B, H]`, the last state, and the product with `w_hh`, which may also be a tensor.
        """

        @tf.custom_gradient
        def unrolled(projected, w_hh, *state):
            weights = self.split(w_hh)
            last, states, gates = self._forward_loop(projected, state, tuple(map(_compiled_product_with, weights)))

            def gradient(d_outputs, _, *d_last):
                before = tuple(_before(*parts) for parts in zip(state, states, strict=True))
                derivatives = self.derivatives(states, before, gates)
                products = tuple(_compiled_product_with(tf.transpose(matrix)) for matrix in weights)
                d_state, d_pre = self._backward_loop(d_outputs, d_last, derivatives, products)
                d_w_hh = factors(self._weight_product(w_hh, before[0], gates, projected), d_pre)
                return d_pre, multiplied(d_w_hh), *d_state

            return (states[0], gates, *last), gradient

        outputs, gates, *last = unrolled(projected, w_hh, *state)
        return outputs, tuple(last), self._weight_product(w_hh, _before(state[0], outputs), gates, projected)

    def _weight_product(
        self, w_hh: tf.Variable, before: tf.Tensor, gates: tf.Tensor, projected: tf.Tensor
    ) -> WeightProduct:
        """Returns the product with `w_hh` in all T steps; `projected` has the gradient of the pre-activations."""
        widths = tuple(matrix.shape[-1] for matrix in self.split(w_hh))
        return WeightProduct(w_hh, self.inputs(before, gates), widths, projected)

    def _forward_loop(
        self, projected: tf.Tensor, state: State, products: tuple[Product, ...]
    ) -> tuple[State, State, tf.Tensor]:
        """Returns the last state, all states `[T, B, H]`, and the gates of all steps `[T, B, G·H]`."""
        num_steps = projected.shape[0]
        states = tuple(_array(num_steps, part.shape) for part in state)

        def body(t, state, states, gates):
            state, gates_t = self.forward(gates.read(t), state, products)
            states = tuple(array.write(t, part) for array, part in zip(states, state, strict=True))
            return t + 1, state, states, gates.write(t, gates_t)

        start = (0, state, states, _array_of(projected))
        _, state, states, gates = tf.while_loop(lambda t, *_: t < num_steps, body, start)
        return state, tuple(array.stack() for array in states), gates.stack()

    def _backward_loop(
        self, d_outputs: tf.Tensor, d_state: State, derivatives: Tensors, products: tuple[Product, ...]
    ) -> tuple[State, tf.Tensor]:
        """Returns d(first state), and d(pre-activations) `[T, B, G·H]`."""
        factors, *others = derivatives

        def body(t, d_state, d_pre):
            d_hidden, *d_parts = d_state
            d_state, d_pre_t = self.backward(
                (d_outputs[t] + d_hidden, *d_parts), (d_pre.read(t), *(other[t] for other in others)), products
            )
            return t - 1, d_state, d_pre.write(t, d_pre_t)

        start = (factors.shape[0] - 1, d_state, _array_of(factors))
        _, d_state, d_pre = tf.while_loop(lambda t, *_: t >= 0, body, start)
        return d_state, d_pre.stack()


def make(name: str, activation: str = 'tanh') -> Cell:
    """Returns the cell `name`: rnn, gru or lstm. `activation`, tanh or relu, applies to the rnn only."""
    return {'rnn': _RNN[activation], 'gru': _GRU, 'lstm': _LSTM}[name]


# --- rnn: H = f(X W_xh + H W_hh + b_h). Dive into Deep Learning (Chinese edition, v1), section 6.4.


def _rnn(activate: Callable[[tf.Tensor], tf.Tensor], derivative: Callable[[tf.Tensor], tf.Tensor]) -> Cell:
    """`derivative` is that of the activation, as a function of the activation's value."""

    def forward(projected, state, products):
        hidden = activate(projected + products[0](state[0]))
        return (hidden,), hidden

    def backward(d_state, derivatives, products):
        d_pre = d_state[0] * derivatives[0]
        return (products[0](d_pre),), d_pre

    return Cell(
        gates=('h',),
        num_parts=1,
        forward=forward,
        derivatives=lambda states, before, gates: (derivative(states[0]),),
        backward=backward,
    )


_RNN = {
    'tanh': _rnn(tf.tanh, lambda hidden: 1 - hidden * hidden),
    'relu': _rnn(tf.nn.relu, lambda hidden: tf.cast(hidden > 0, hidden.dtype)),
}


# --- gru: Z, R = sigm(X W_x· + H W_h· + b_·), H~ = tanh(X W_xh + (R H) W_hh + b_h), H' = Z H + (1 - Z) H~.
# Section 6.7: the reset gate is applied before the product, as in Cho et al. (2014).


def _gru_split(w_hh: tf.Tensor) -> Tensors:
    size = w_hh.shape[0]
    return w_hh[:, : 2 * size], w_hh[:, 2 * size :]


def _gru_forward(projected: tf.Tensor, state: State, products: tuple[Product, ...]) -> tuple[State, tf.Tensor]:
    (hidden,), (by_zr, by_h) = state, products
    size = hidden.shape[-1]
    projected_gates, projected_candidate = tf.split(projected, [2 * size, size], -1)
    update_reset = tf.sigmoid(projected_gates + by_zr(hidden))
    update, reset = tf.split(update_reset, 2, -1)
    candidate = tf.tanh(projected_candidate + by_h(reset * hidden))
    return (update * hidden + (1 - update) * candidate,), tf.concat([update_reset, candidate], -1)


def _gru_derivatives(states: State, before: State, gates: tf.Tensor) -> Tensors:
    del states
    (hidden,), (update, reset, candidate) = before, tf.split(gates, 3, -1)
    factors = [
        (hidden - candidate) * update * (1 - update),
        hidden * reset * (1 - reset),
        (1 - update) * (1 - candidate * candidate),
    ]
    return tf.concat(factors, -1), update, reset


def _gru_backward(d_state: State, derivatives: Tensors, products: tuple[Product, ...]) -> tuple[State, tf.Tensor]:
    (d_hidden,), (factors, update, reset), (by_zr, by_h) = d_state, derivatives, products
    update_factor, reset_factor, candidate_factor = tf.split(factors, 3, -1)
    d_candidate = d_hidden * candidate_factor
    d_kept = by_h(d_candidate)  # of R H
    d_update_reset = tf.concat([d_hidden * update_factor, d_kept * reset_factor], -1)
    d_before = d_hidden * update + d_kept * reset + by_zr(d_update_reset)
    return (d_before,), tf.concat([d_update_reset, d_candidate], -1)


def _gru_inputs(before: tf.Tensor, gates: tf.Tensor) -> Tensors:
    """The weights of Z and R multiply H, those of the candidate R H."""
    size = before.shape[-1]
    return before, gates[..., size : 2 * size] * before


_GRU = Cell(
    gates=('z', 'r', 'h'),
    num_parts=1,
    forward=_gru_forward,
    derivatives=_gru_derivatives,
    backward=_gru_backward,
    split=_gru_split,
    inputs=_gru_inputs,
)


# --- lstm: I, F, O = sigm(X W_x· + H W_h· + b_·), C~ = tanh(X W_xc + H W_hc + b_c), C' = F C + I C~, H' = O tanh(C').
# Section 6.8. The state is (H, C).


def _lstm_forward(projected: tf.Tensor, state: State, products: tuple[Product, ...]) -> tuple[State, tf.Tensor]:
    hidden, memory = state
    gates = _lstm_gates(projected + products[0](hidden))
    input_gate, forget_gate, output_gate, candidate = tf.split(gates, 4, -1)
    memory = forget_gate * memory + input_gate * candidate
    return (output_gate * tf.tanh(memory), memory), gates


def _lstm_gates(pre: tf.Tensor) -> tf.Tensor:
    """Returns I, F, O, C~ side by side, in one pass over `pre`, `[B, 4·H]`: sigm(x) = (1 + tanh(x / 2)) / 2."""
    size = pre.shape[-1] // 4
    scale = tf.repeat(tf.constant([0.5, 1.0]), [3 * size, size])
    return scale * tf.tanh(scale * pre) + (1 - scale)


def _lstm_derivatives(states: State, before: State, gates: tf.Tensor) -> Tensors:
    input_gate, forget_gate, output_gate, candidate = tf.split(gates, 4, -1)
    activated = tf.tanh(states[1])
    factors = [
        candidate * input_gate * (1 - input_gate),
        before[1] * forget_gate * (1 - forget_gate),
        activated * output_gate * (1 - output_gate),
        input_gate * (1 - candidate * candidate),
    ]
    return tf.concat(factors, -1), output_gate * (1 - activated * activated), forget_gate


def _lstm_backward(d_state: State, derivatives: Tensors, products: tuple[Product, ...]) -> tuple[State, tf.Tensor]:
    (d_hidden, d_memory), (factors, memory_factor, forget_gate) = d_state, derivatives
    d_memory = d_memory + d_hidden * memory_factor
    d_pre = factors * tf.concat([d_memory, d_memory, d_hidden, d_memory], -1)
    return (products[0](d_pre), d_memory * forget_gate), d_pre


_LSTM = Cell(
    gates=('i', 'f', 'o', 'c'),
    num_parts=2,
    forward=_lstm_forward,
    derivatives=_lstm_derivatives,
    backward=_lstm_backward,
)


def _product_with(matrix: tf.Tensor) -> Product:
    """Returns the product with `matrix`, `[I, J]`."""
    return lambda values: values @ matrix


def _compiled_product_with(matrix: tf.Tensor) -> Product:
    """Returns the product with `matrix`, `[I, J]`, which it stores as XLA multiplies by it faster in a loop."""
    if not devices.stores_transposed(min(matrix.shape)):
        return _product_with(matrix)
    transposed = tf.transpose(matrix)
    return lambda values: tf.matmul(values, transposed, transpose_b=True)


def _array(size: int, shape: tf.TensorShape) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, size, element_shape=shape)


def _array_of(sequence: tf.Tensor) -> tf.TensorArray:
    return _array(sequence.shape[0], sequence.shape[1:]).unstack(sequence)


def _before(first: tf.Tensor, sequence: tf.Tensor) -> tf.Tensor:
    """Returns what precedes each step of a sequence, `[T, ...]`: `first`, then all but the last."""
    return tf.concat([first[tf.newaxis], sequence[:-1]], 0)
