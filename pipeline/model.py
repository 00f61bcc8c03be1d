"""CharRNN: (ids, state) -> (logits, state).

Shapes, everywhere in the project:
  B batch, T time steps, V vocabulary, E embedding, H hidden units, G gates of the cell, L layers, S minibatches per
  call, N rows of a request, P prefix characters.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from pipeline import cells, weight_gradients
from pipeline.cells import State
from pipeline.config import ModelConfig
from pipeline.devices import HOST
from pipeline.weight_gradients import WeightProduct


class Layer(NamedTuple):
    """The weights of one recurrent layer; I is V or E for the first, H for those above."""

    w_xh: tf.Variable
    """`[I, G·H]`"""
    w_hh: tf.Variable
    """`[H, G·H]`"""
    b_h: tf.Variable
    """`[G·H]`"""


class Rows(NamedTuple):
    """Some rows of a minibatch: those that one of several replicas reads."""

    first: tf.Tensor
    """Scalar int32."""
    total: int
    """Rows of the minibatch."""


class Forward(NamedTuple):
    """What a model makes of T characters per row."""

    logits: tf.Tensor
    """`[T, B, V]`, time-major."""
    state: State
    """The last one."""
    products: list[WeightProduct]
    """All products with weights but those with tied embeddings, which are also gathered."""


class Stepper(NamedTuple):
    """`CharRNN.step` in two parts, so that a prefix can be read without the output layer."""

    read: Callable[[tf.Tensor, State], State]
    """`(ids [B] int32, state)` -> the new state."""
    logits: Callable[[State], tf.Tensor]
    """The state after `read` -> logits `[B, V]` of the next character."""


class CharRNN(tf.Module):
    """The recurrent language model of Dive into Deep Learning, sections 6.4, 6.7, 6.8 and 6.10 (Chinese edition v1).

    `H_t = f(X_t W_xh + H_{t-1} W_hh + b_h)`, `Y_t = H_t W_hq + b_q`, X one-hot. A one-hot row times `W_xh` is a row of
    `W_xh`, so the input projection is a gather. It precedes the loop over time, and the output layer follows the loop.
    Layers above the first read the hidden states of the layer below. Their weights are named `w_xh_2`, `w_hh_2`, ...

    With embeddings, X_t is a row of `embedding`, `[V, E]`. If they are tied, `Y_t = H_t embedding' + b_q` (Press and
    Wolf 2017; Inan et al. 2017); if E is not H, `H_t w_hq` replaces `H_t`, and w_hq is `[H, E]`.

    The state is a flat tuple of `[B, H]` tensors: the parts of the first layer's state, then the second's, ...
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, seed: int = 0):
        """Draws the weights from N(0, init_scale²); the same seed gives the same weights on any device.

        Biases are 0, except that of the forget gate, which is `forget_bias`.
        """
        super().__init__()
        self.config = config
        self._cell = cells.make(config.cell, config.activation)
        hidden, gates = config.hidden_size, self._cell.gates
        numbers = itertools.count()

        def normal(name: str, *shape: int, scale: float = config.init_scale) -> tf.Variable:
            with tf.device(HOST):  # a GPU's logarithm and cosine differ in the last bit
                drawn = scale * tf.random.stateless_normal(shape, seed=[seed, next(numbers)], alg='philox')
            return tf.Variable(drawn, name=name)

        first_size, tied = config.embedding_size or vocabulary_size, config.tie_embeddings
        self.embedding = None
        if config.embedding_size:
            scale = config.embedding_scale
            self.embedding = normal('embedding', vocabulary_size, config.embedding_size, scale=scale)
        self.w_hq = None
        first_bias = tf.repeat([config.forget_bias if gate == 'f' else 0.0 for gate in gates], hidden)
        for number in range(config.num_layers):
            w_xh, w_hh, b_h = _weight_names(number)
            setattr(self, w_xh, normal(w_xh, hidden if number else first_size, len(gates) * hidden))
            setattr(self, w_hh, normal(w_hh, hidden, len(gates) * hidden))
            setattr(self, b_h, tf.Variable(first_bias, name=b_h))
            if number == 0 and not (tied and hidden == first_size):  # here: its values do not depend on the layers
                self.w_hq = normal('w_hq', hidden, first_size if tied else vocabulary_size)
        self.b_q = tf.Variable(tf.zeros([vocabulary_size]), name='b_q')

    def assign(self, other: 'CharRNN') -> None:
        """Sets the weights to those of a model of the same shape."""
        for own, given in zip(self.trainable_variables, other.trainable_variables, strict=True):
            own.assign(given)

    @property
    def layers(self) -> list[Layer]:
        """The weights of the layers, from the lowest to the highest."""
        return [Layer(*(getattr(self, name) for name in _weight_names(n))) for n in range(self.config.num_layers)]

    @property
    def vocabulary_size(self) -> int:
        return self.b_q.shape[0]

    @property
    def num_parameters(self) -> int:
        return sum(variable.shape.num_elements() for variable in self.trainable_variables)

    def zero_state(self, batch_size: int | tf.Tensor) -> State:
        """The state before the first character, a tuple of `[B, H]`."""
        num_parts = self.config.num_layers * self._cell.num_parts
        return tuple(tf.zeros([batch_size, self.config.hidden_size]) for _ in range(num_parts))

    def __call__(self, ids: tf.Tensor, state: State, dropout_seed: tf.Tensor | None = None) -> tuple[tf.Tensor, State]:
        """As `forward`: `[B, T] int32` -> logits `[T, B, V]`, time-major, and the last state."""
        return self.forward(ids, state, dropout_seed)[:2]

    def forward(
        self, ids: tf.Tensor, state: State, dropout_seed: tf.Tensor | None = None, rows: Rows | None = None
    ) -> Forward:
        """Reads T characters per row, `[B, T] int32`.

        `dropout_seed`, `[2] int32`, is for training: it selects the parts of the embeddings that are dropped, the same
        in all T steps of a row (Gal and Ghahramani 2016), and the hidden states of each layer that are dropped before
        the next layer or the output (Zaremba et al. 2014). The recurrence has no dropout. None: no dropout.
        `rows`: the rows of the minibatch that these are, so that they have their part of its dropout; None: all.
        """
        below, last, products = self._embedded(transposed(ids)), (), []
        if self.config.input_dropout and dropout_seed is not None:
            seed = folded(dropout_seed, self.config.num_layers)
            below *= dropout(tf.ones([1, *below.shape[1:]]), self.config.input_dropout, seed, rows)
        for number, (layer, before) in enumerate(zip(self.layers, self._by_layer(state), strict=True)):
            projected = _projected(below, layer)
            if not below.dtype.is_integer:
                products.append(weight_gradients.whole(layer.w_xh, below, projected))
            below, after, product = self._cell.unroll(projected, before, layer.w_hh)
            products.append(product)
            last += after
            if self.config.dropout and dropout_seed is not None:
                below = dropout(below, self.config.dropout, folded(dropout_seed, number), rows)
        output = self._output(below)
        if self.w_hq is not None:
            products.append(weight_gradients.whole(self.w_hq, below, output))
        return Forward(self._logits(output), last, products)

    def step(self, ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Reads one character per row: `[B] int32` -> logits `[B, V]` and the new state."""
        stepper = self.stepper()
        state = stepper.read(ids, state)
        return stepper.logits(state), state

    def stepper(self) -> Stepper:
        """Returns the parts of `step` for a loop. Called before the loop, it splits the weights once."""
        products = [self._cell.products(layer.w_hh) for layer in self.layers]

        def read(ids: tf.Tensor, state: State) -> State:
            below, last = self._embedded(ids), ()
            for layer, of_layer, before in zip(self.layers, products, self._by_layer(state), strict=True):
                after, _ = self._cell.forward(_projected(below, layer), before, of_layer)
                below = after[0]
                last += after
            return last

        return Stepper(read, lambda state: self._logits(self._output(state[-self._cell.num_parts])))

    def _embedded(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the embeddings of `ids`, `[..., E]`; without embeddings the ids themselves."""
        return ids if self.embedding is None else tf.gather(self.embedding, ids)

    def _output(self, hidden: tf.Tensor) -> tf.Tensor:
        """`[..., H]` -> `[..., V]`, or `[..., E]` with tied embeddings."""
        return hidden if self.w_hq is None else _product(hidden, self.w_hq)

    def _logits(self, output: tf.Tensor) -> tf.Tensor:
        """`_output` -> `[..., V]`."""
        if self.config.tie_embeddings:
            output = _product(output, self.embedding, transpose=True)
        return _plus(output, self.b_q)

    def _by_layer(self, state: State) -> list[State]:
        parts = self._cell.num_parts
        return [state[n : n + parts] for n in range(0, len(state), parts)]


def folded(seed: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number, alg='philox')


def dropout(values: tf.Tensor, rate: float, seed: tf.Tensor, rows: Rows | None = None) -> tf.Tensor:
    """Sets the fraction `rate` of `values`, `[T, B, ...]`, to 0 and scales the others by 1 / (1 - rate).

    The scale keeps the expectation. `rows`: which rows of a minibatch the B are; None: all. The result depends only on
    these and on `seed`, `[2] int32`, with and without XLA. So it draws integers: TensorFlow's dropout draws floats, for
    which XLA gives other values.
    """
    steps, batch, *rest = values.shape
    shape = [steps, rows.total if rows else batch, *rest]
    bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int32, alg='philox')
    if rows:
        bits = tf.slice(bits, [0, rows.first, *(0 for _ in rest)], values.shape)
    lowest_kept = min(round((rate - 0.5) * 2**32), tf.int32.max)  # uniform from -2^31 to 2^31 - 1
    return tf.where(bits >= lowest_kept, values / (1 - rate), 0.0)


def _projected(below: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Returns `X W_xh + b_h`, `[..., G·H]`; X is ids `[...] int32` (as one-hot rows) or hidden states `[..., H]`."""
    if below.dtype.is_integer:
        return tf.gather(layer.w_xh, below) + layer.b_h
    return _plus(_product(below, layer.w_xh), layer.b_h)


def _product(values: tf.Tensor, weights: tf.Tensor, transpose: bool = False) -> tf.Tensor:
    """`[..., I]` times `[I, J]`, or `[J, I]` if `transpose`: `[..., J]`.

    For a single step one operation, because tensordot adds several where the number of rows is not known.
    """
    if values.shape.rank == 2:
        return tf.matmul(values, weights, transpose_b=transpose)
    return tf.tensordot(values, weights, [[-1], [int(transpose)]])


def _plus(product: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Adds `bias`, `[J]`, to `[..., J]`.

    For a single step in one more dimension. Otherwise TensorFlow joins product and bias to an operation of oneDNN that
    arranges the weights again at each step, which takes longer than the product of a few rows. The rank is stated,
    because TensorFlow does not know it in a function that is not inlined.
    """
    if product.shape.rank == 2:
        return tf.reshape(tf.expand_dims(product, 1) + bias, [-1, bias.shape[0]])
    return product + bias


def _weight_names(number: int) -> tuple[str, str, str]:
    """Returns the names for layer `number`, from 0: `w_xh`, `w_hh`, `b_h`; for the next layer `w_xh_2`, ..."""
    suffix = f'_{number + 1}' if number else ''
    return f'w_xh{suffix}', f'w_hh{suffix}', f'b_h{suffix}'


def transposed(ids: tf.Tensor) -> tf.Tensor:
    """`[M, N] int32` -> `[N, M]`, by a gather: on some CPUs, oneDNN prints an error for each transpose of integers."""
    rows, columns = (tf.shape(ids)[axis] if size is None else size for axis, size in enumerate(ids.shape))
    return tf.gather(tf.reshape(ids, [-1]), tf.range(columns)[:, tf.newaxis] + tf.range(rows) * columns)


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `-ln p(target)` over all B·T targets, in nats; logits `[T, B, V]`, targets `[B, T] int32`.

    The gradient, (p - one-hot target) / (B·T), reuses the exponentials of the loss: with TensorFlow's own function XLA
    passes over `[T, B, V]` three times more.
    """
    targets = transposed(targets)

    @tf.custom_gradient
    def mean(logits):
        highest = tf.reduce_max(logits, -1, keepdims=True)
        exponentials = tf.exp(logits - highest)
        sums = tf.reduce_sum(exponentials, -1, keepdims=True)
        of_targets = tf.gather(logits, targets[..., tf.newaxis], batch_dims=2)

        def gradient(upstream):
            scale = upstream / targets.shape.num_elements()
            probabilities = exponentials * (scale / sums)
            is_target = tf.range(logits.shape[-1]) == targets[..., tf.newaxis]
            return tf.where(is_target, probabilities - scale, probabilities)

        return tf.reduce_mean(tf.math.log(sums) + highest - of_targets), gradient

    return mean(logits)
