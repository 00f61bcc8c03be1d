"""CharRNN: (ids, state) -> (logits, state).

Shapes, everywhere in the project:
  B batch, T time steps, V vocabulary, H hidden units, S minibatches a call, N rows of a request, P prefix characters.
"""

import tensorflow as tf

from pipeline import cells
from pipeline.config import ModelConfig

State = tuple[tf.Tensor, ...]


class CharRNN(tf.Module):
    """The recurrent language model of Dive into Deep Learning, section 6.4 (Chinese edition v1).

    `H_t = f(X_t W_xh + H_{t-1} W_hh + b_h)`, `Y_t = H_t W_hq + b_q`, X one-hot. A one-hot row times `W_xh` is a row of
    `W_xh`: the input projection is a gather, and stands before the loop over time as the output layer stands after it.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, seed: int = 0):
        """Weights are drawn from N(0, init_scale²), the same ones for the same seed on any device; biases are 0."""
        super().__init__()
        self.config = config
        hidden = config.hidden_size

        def normal(shape: list[int], number: int) -> tf.Tensor:
            return config.init_scale * tf.random.stateless_normal(shape, seed=[seed, number], alg='philox')

        self.w_xh = tf.Variable(normal([vocabulary_size, hidden], 0), name='w_xh')
        self.w_hh = tf.Variable(normal([hidden, hidden], 1), name='w_hh')
        self.b_h = tf.Variable(tf.zeros([hidden]), name='b_h')
        self.w_hq = tf.Variable(normal([hidden, vocabulary_size], 2), name='w_hq')
        self.b_q = tf.Variable(tf.zeros([vocabulary_size]), name='b_q')

    @property
    def vocabulary_size(self) -> int:
        return self.b_q.shape[0]

    @property
    def num_parameters(self) -> int:
        return sum(variable.shape.num_elements() for variable in self.trainable_variables)

    def zero_state(self, batch_size: int | tf.Tensor) -> State:
        """The state before the first character, `([B, H],)`."""
        return (tf.zeros([batch_size, self.config.hidden_size]),)

    def __call__(self, ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Reads T characters a row: `[B, T] int32` -> logits `[T, B, V]`, time-major, and the state after them."""
        projected = tf.gather(self.w_xh, tf.transpose(ids)) + self.b_h
        hidden = cells.rnn(projected, state[0], self.w_hh, self.config.activation)
        num_steps, batch_size, _ = hidden.shape
        logits = tf.reshape(hidden, [-1, self.config.hidden_size]) @ self.w_hq + self.b_q
        return tf.reshape(logits, [num_steps, batch_size, self.vocabulary_size]), (hidden[-1],)

    def step(self, ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Reads one character a row: `[B] int32` -> logits `[B, V]` and the state after it."""
        projected = tf.gather(self.w_xh, ids) + self.b_h
        hidden = cells.rnn_step(projected, state[0], self.w_hh, self.config.activation)
        return hidden @ self.w_hq + self.b_q, (hidden,)


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The mean of `-ln p(target)` over all B·T targets, in nats; logits `[T, B, V]`, targets `[B, T] int32`."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.transpose(targets), logits=logits)
    return tf.reduce_mean(losses)
