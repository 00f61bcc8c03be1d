"""The recurrent cells: one step, and T steps with back-propagation through time written out.

Shapes are those of `model.py`; G is the number of gates of a cell. Sequences are time-major, `[T, B, ...]`. A
sequence `[T, B, G·H]`, a weight `[H, G·H]` and a bias `[G·H]` hold the gates side by side in the
order of `Cell.gates`.

The gradient is back-propagation through time (Werbos 1990), with everything that needs no carried gradient moved out of
the loop. Before the loop, the elementwise derivatives are computed for all steps. The loop carries d(state) and writes
d(pre-activations). After the loop, the gradient of the recurrent weight is one product over all T·B rows.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

State = tuple[tf.Tensor, ...]
Tensors = tuple[tf.Tensor, ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A recurrent cell. Its state is a tuple of `num_parts` tensors `[B, H]`; the first is its output."""

    gates: tuple[str, ...]
    """Names of the gates in the equations, in the order of the weights' columns."""
    num_parts: int
    saved: tuple[int, ...]
    """Widths, in multiples of H, of the tensors that `forward` saves for the backward pass."""
    forward: Callable[[tf.Tensor, State, Tensors], tuple[State, Tensors]]
    """`(projected [B, G·H], state, weights)` -> the new state, and the saved tensors `[B, width·H]`."""
    derivatives: Callable[[State, State, Tensors], Tensors]
    """`(new states, previous states, saved)` of all T steps -> the factors that `backward` uses, each `[T, B, ...]`."""
    backward: Callable[[State, Tensors, Tensors], tuple[State, tf.Tensor]]
    """`(d(new state), derivatives, transposed weights)` of one step -> d(previous state), and d(pre-activations)
    `[B, G·H]`."""
    weight_gradient: Callable[[tf.Tensor, Tensors, tf.Tensor], tf.Tensor]
    """`(previous hidden states, saved, d(pre-activations))` of all T steps -> d(w_hh) `[H, G·H]`."""
    split: Callable[[tf.Tensor], Tensors] = lambda w_hh: (w_hh,)
    """`w_hh [H, G·H]` -> the matrices that one step uses; called once, before the loops."""

    def unroll(self, projected: tf.Tensor, state: State, w_hh: tf.Tensor) -> tuple[tf.Tensor, State]:
        """Runs T steps over `projected`, `[T, B, G·H]`; returns the outputs `[T, B, H]` and the last state."""

        @tf.custom_gradient
        def unrolled(projected, w_hh, *state):
            weights = self.split(w_hh)
            last, states, saved = self._forward_loop(projected, state, weights)

            def gradient(d_outputs, *d_last):
                before = tuple(
                    tf.concat([s[tf.newaxis], all_s[:-1]], 0) for s, all_s in zip(state, states, strict=True)
                )
                derivatives = self.derivatives(states, before, saved)
                transposed = tuple(map(tf.transpose, weights))  # once: a product with a transposed factor is slower
                d_state, d_pre = self._backward_loop(d_outputs, d_last, derivatives, transposed, projected.shape)
                return d_pre, self.weight_gradient(before[0], saved, d_pre), *d_state

            return (states[0], *last), gradient

        outputs, *last = unrolled(projected, w_hh, *state)
        return outputs, tuple(last)

    def _forward_loop(self, projected: tf.Tensor, state: State, weights: Tensors) -> tuple[State, State, Tensors]:
        """Returns the last state, and all states and saved tensors, `[T, B, ...]`."""
        num_steps = projected.shape[0]
        batch_size, size = state[0].shape
        states = tuple(_array(num_steps, [batch_size, size]) for _ in state)
        saved = tuple(_array(num_steps, [batch_size, width * size]) for width in self.saved)

        def body(t, state, states, saved):
            state, extra = self.forward(projected[t], state, weights)
            return t + 1, state, _write(states, t, state), _write(saved, t, extra)

        _, state, states, saved = tf.while_loop(lambda t, *_: t < num_steps, body, (0, state, states, saved))
        return state, _stack(states), _stack(saved)

    def _backward_loop(
        self, d_outputs: tf.Tensor, d_state: State, derivatives: Tensors, weights: Tensors, shape: tf.TensorShape
    ) -> tuple[State, tf.Tensor]:
        """Returns d(first state), and d(pre-activations) of the given `shape`, `[T, B, G·H]`."""
        num_steps = shape[0]

        def body(t, d_state, d_pre):
            d_hidden, *others = d_state
            d_state, d_pre_t = self.backward(
                (d_outputs[t] + d_hidden, *others), tuple(s[t] for s in derivatives), weights
            )
            return t - 1, d_state, d_pre.write(t, d_pre_t)

        start = (num_steps - 1, d_state, _array(num_steps, shape[1:]))
        _, d_state, d_pre = tf.while_loop(lambda t, *_: t >= 0, body, start)
        return d_state, d_pre.stack()


def make(name: str, activation: str = 'tanh') -> Cell:
    """Returns the cell `name`: rnn, gru or lstm. `activation`, tanh or relu, applies to the rnn only."""
    return {'rnn': _RNN[activation], 'gru': _GRU, 'lstm': _LSTM}[name]


# --- rnn: H = f(X W_xh + H W_hh + b_h). Dive into Deep Learning (Chinese edition, v1), section 6.4.


def _rnn(activate: Callable[[tf.Tensor], tf.Tensor], derivative: Callable[[tf.Tensor], tf.Tensor]) -> Cell:
    """`derivative` is that of the activation, as a function of the activation's value."""

    def forward(projected, state, weights):
        return (activate(projected + state[0] @ weights[0]),), ()

    def backward(d_state, derivatives, weights):
        d_pre = d_state[0] * derivative(derivatives[0])  # in the loop: cheaper than another pass over [T, B, H]
        return (d_pre @ weights[0],), d_pre

    return Cell(
        gates=('h',),
        num_parts=1,
        saved=(),
        forward=forward,
        derivatives=lambda states, before, saved: states,
        backward=backward,
        weight_gradient=_one_product,
    )


def _one_product(before: tf.Tensor, saved: Tensors, d_pre: tf.Tensor) -> tf.Tensor:
    del saved
    return tf.matmul(_rows(before), _rows(d_pre), transpose_a=True)


_RNN = {
    'tanh': _rnn(tf.tanh, lambda hidden: 1 - hidden * hidden),
    'relu': _rnn(tf.nn.relu, lambda hidden: tf.cast(hidden > 0, hidden.dtype)),
}


# --- gru: Z, R = sigm(X W_x· + H W_h· + b_·), H~ = tanh(X W_xh + (R H) W_hh + b_h), H' = Z H + (1 - Z) H~.
# Section 6.7: the reset gate is applied before the product, as in Cho et al. (2014).


def _gru_split(w_hh: tf.Tensor) -> Tensors:
    size = w_hh.shape[0]
    return w_hh[:, : 2 * size], w_hh[:, 2 * size :]


def _gru_forward(projected: tf.Tensor, state: State, weights: Tensors) -> tuple[State, Tensors]:
    (hidden,), (w_zr, w_h) = state, weights
    size = hidden.shape[-1]
    update_reset = tf.sigmoid(projected[:, : 2 * size] + hidden @ w_zr)
    update, reset = tf.split(update_reset, 2, -1)
    candidate = tf.tanh(projected[:, 2 * size :] + (reset * hidden) @ w_h)
    return (update * hidden + (1 - update) * candidate,), (update_reset, candidate)


def _gru_derivatives(states: State, before: State, saved: Tensors) -> Tensors:
    del states
    (hidden,), (update_reset, candidate) = before, saved
    update, reset = tf.split(update_reset, 2, -1)
    return (
        (hidden - candidate) * update * (1 - update),
        hidden * reset * (1 - reset),
        (1 - update) * (1 - candidate * candidate),
        update,
        reset,
    )


def _gru_backward(d_state: State, derivatives: Tensors, weights: Tensors) -> tuple[State, tf.Tensor]:
    (d_hidden,), (update_derivative, reset_derivative, candidate_derivative, update, reset), (w_zr, w_h) = (
        d_state,
        derivatives,
        weights,
    )
    d_candidate = d_hidden * candidate_derivative
    d_kept = d_candidate @ w_h  # of R H
    d_update_reset = tf.concat([d_hidden * update_derivative, d_kept * reset_derivative], -1)
    d_before = d_hidden * update + d_kept * reset + d_update_reset @ w_zr
    return (d_before,), tf.concat([d_update_reset, d_candidate], -1)


def _gru_weight_gradient(before: tf.Tensor, saved: Tensors, d_pre: tf.Tensor) -> tf.Tensor:
    """Two products: the weights of the gates multiply H, those of the candidate R H."""
    size = before.shape[-1]
    kept = saved[0][..., size:] * before
    d_zr = tf.matmul(_rows(before), _rows(d_pre[..., : 2 * size]), transpose_a=True)
    return tf.concat([d_zr, tf.matmul(_rows(kept), _rows(d_pre[..., 2 * size :]), transpose_a=True)], -1)


_GRU = Cell(
    gates=('z', 'r', 'h'),
    num_parts=1,
    saved=(2, 1),
    forward=_gru_forward,
    derivatives=_gru_derivatives,
    backward=_gru_backward,
    weight_gradient=_gru_weight_gradient,
    split=_gru_split,
)


# --- lstm: I, F, O = sigm(X W_x· + H W_h· + b_·), C~ = tanh(X W_xc + H W_hc + b_c), C' = F C + I C~, H' = O tanh(C').
# Section 6.8. The state is (H, C).


def _lstm_forward(projected: tf.Tensor, state: State, weights: Tensors) -> tuple[State, Tensors]:
    hidden, memory = state
    gates = _lstm_gates(projected + hidden @ weights[0])
    input_gate, forget_gate, output_gate, candidate = tf.split(gates, 4, -1)
    memory = forget_gate * memory + input_gate * candidate
    return (output_gate * tf.tanh(memory), memory), (gates,)


def _lstm_gates(pre: tf.Tensor) -> tf.Tensor:
    """Returns I, F, O, C~ side by side, in one pass over `pre`, `[B, 4·H]`: sigm(x) = (1 + tanh(x / 2)) / 2."""
    size = pre.shape[-1] // 4
    scale = tf.repeat(tf.constant([0.5, 1.0]), [3 * size, size])
    return scale * tf.tanh(scale * pre) + (1 - scale)


def _lstm_derivatives(states: State, before: State, saved: Tensors) -> Tensors:
    input_gate, forget_gate, output_gate, candidate = tf.split(saved[0], 4, -1)
    activated = tf.tanh(states[1])
    return (
        candidate * input_gate * (1 - input_gate),
        before[1] * forget_gate * (1 - forget_gate),
        activated * output_gate * (1 - output_gate),
        input_gate * (1 - candidate * candidate),
        output_gate * (1 - activated * activated),
        forget_gate,
    )


def _lstm_backward(d_state: State, derivatives: Tensors, weights: Tensors) -> tuple[State, tf.Tensor]:
    d_hidden, d_memory = d_state
    input_derivative, forget_derivative, output_derivative, candidate_derivative, memory_derivative, forget_gate = (
        derivatives
    )
    d_memory = d_memory + d_hidden * memory_derivative
    d_pre = tf.concat(
        [
            d_memory * input_derivative,
            d_memory * forget_derivative,
            d_hidden * output_derivative,
            d_memory * candidate_derivative,
        ],
        -1,
    )
    return (d_pre @ weights[0], d_memory * forget_gate), d_pre


_LSTM = Cell(
    gates=('i', 'f', 'o', 'c'),
    num_parts=2,
    saved=(4,),
    forward=_lstm_forward,
    derivatives=_lstm_derivatives,
    backward=_lstm_backward,
    weight_gradient=_one_product,
)


def _array(size: int, shape: list[int]) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, size, element_shape=shape)


def _write(arrays: tuple[tf.TensorArray, ...], t: tf.Tensor, values: Tensors) -> tuple[tf.TensorArray, ...]:
    return tuple(array.write(t, value) for array, value in zip(arrays, values, strict=True))


def _stack(arrays: tuple[tf.TensorArray, ...]) -> Tensors:
    return tuple(array.stack() for array in arrays)


def _rows(sequence: tf.Tensor) -> tf.Tensor:
    """`[T, B, ...]` -> `[T·B, ...]`."""
    return tf.reshape(sequence, [-1, sequence.shape[-1]])
