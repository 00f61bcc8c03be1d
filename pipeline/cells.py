"""The recurrence, as pure functions: one step of it, and all T steps with back-propagation through time written out.

Shapes as in `model.py`. Everything is time-major here: `[T, B, ...]`.
"""

import tensorflow as tf


def _relu_slope(hidden: tf.Tensor) -> tf.Tensor:
    return tf.cast(hidden > 0, hidden.dtype)


def _tanh_slope(hidden: tf.Tensor) -> tf.Tensor:
    return 1 - hidden * hidden


# activation -> (the function, its slope as a function of the function's value)
_ACTIVATIONS = {'tanh': (tf.tanh, _tanh_slope), 'relu': (tf.nn.relu, _relu_slope)}


def rnn_step(projected: tf.Tensor, hidden: tf.Tensor, w_hh: tf.Tensor, activation: str) -> tf.Tensor:
    """`H_t = f(X_t W_xh + b_h + H_{t-1} W_hh)`, `projected` being the first two terms: `[B, H]` -> `[B, H]`."""
    return _ACTIVATIONS[activation][0](projected + hidden @ w_hh)


def rnn(projected: tf.Tensor, hidden: tf.Tensor, w_hh: tf.Tensor, activation: str) -> tf.Tensor:
    """All hidden states of T steps, `[T, B, H]`, from `projected`, `[T, B, H]`, and the state before, `[B, H]`.

    The gradient is back-propagation through time with the sums taken apart (Werbos 1990, equations of Dive into Deep
    Learning 6.6): the loop back through time only carries dH, and `dW_hh` is one product over all T·B rows after it.
    """
    activate, slope = _ACTIVATIONS[activation]
    num_steps = projected.shape[0]

    @tf.custom_gradient
    def unrolled(projected, hidden, w_hh):
        def forward(t, h, states):
            h = activate(projected[t] + h @ w_hh)
            return t + 1, h, states.write(t, h)

        states = _array(num_steps, hidden)
        _, _, states = tf.while_loop(lambda t, *_: t < num_steps, forward, (0, hidden, states))
        states = states.stack()

        def gradient(d_states):
            def backward(t, d_h, d_pre):
                d_pre_t = (d_states[t] + d_h) * slope(states[t])
                return t - 1, tf.matmul(d_pre_t, w_hh, transpose_b=True), d_pre.write(t, d_pre_t)

            start = (num_steps - 1, tf.zeros_like(hidden), _array(num_steps, hidden))
            _, d_hidden, d_pre = tf.while_loop(lambda t, *_: t >= 0, backward, start)
            d_pre = d_pre.stack()
            previous = tf.concat([hidden[tf.newaxis], states[:-1]], axis=0)
            return d_pre, d_hidden, tf.matmul(_rows(previous), _rows(d_pre), transpose_a=True)

        return states, gradient

    return unrolled(projected, hidden, w_hh)


def _array(size: int, element: tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(element.dtype, size, element_shape=element.shape)


def _rows(sequence: tf.Tensor) -> tf.Tensor:
    """`[T, B, H]` -> `[T·B, H]`."""
    return tf.reshape(sequence, [-1, sequence.shape[-1]])
