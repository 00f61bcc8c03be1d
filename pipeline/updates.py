"""The updates of a model: gradient, clipping, optimizer; many of them in one call."""

import keras
import tensorflow as tf

from data.windows import Windows
from pipeline.cells import State
from pipeline.config import TrainingConfig
from pipeline.model import CharRNN, Rows, cross_entropy, dropout, folded
from pipeline.weight_gradients import Summands, added, summands

_RESETS = -1  # folded into a seed; `CharRNN` folds the numbers of its layers


class Updates:
    """What one update consists of."""

    def __init__(
        self,
        model: CharRNN,
        averaged: CharRNN | None,
        optimizer: keras.Optimizer,
        windows: Windows,
        config: TrainingConfig,
    ):
        """`averaged` receives the mean of the weights; None: without averaging."""
        self.model = model
        self.averaged = averaged
        self.optimizer = optimizer
        self.windows = windows
        self.config = config

    @property
    def step(self) -> tf.Tensor:
        """Updates so far, scalar int32."""
        return tf.cast(self.optimizer.iterations, tf.int32)

    def loss_and_gradients(
        self, inputs: tf.Tensor, targets: tf.Tensor, state: State, step: tf.Tensor, rows: Rows | None = None
    ) -> tuple[tf.Tensor, list[Summands], State]:
        """Returns the mean loss of a minibatch, its gradients and the next state.

        Inputs are `[B, (C+1)·T]`. The gradient of the last window's loss flows back through the C context windows,
        which are read again from the state before them. At the start of an epoch there are fewer than C.
        `rows`: the rows of the minibatch that these are; None: all. The loss and the gradients of some rows are their
        share of the mean: the shares of all rows add up to it.
        """
        share = inputs.shape[0] / rows.total if rows else 1.0
        *context, own = tf.split(inputs, self.windows.context + 1, axis=1)
        following, products = None, []
        with tf.GradientTape() as tape:
            for ago, window in zip(range(len(context), 0, -1), context, strict=True):
                _, after, read = self.model.forward(
                    window, self._reset(state, step - ago, rows), self._dropout_seed(step - ago), rows
                )
                products += read
                exists = step % self.windows.steps_per_epoch >= ago
                state = tuple(tf.where(exists, new, old) for new, old in zip(after, state, strict=True))
                if following is None:
                    following = state
            logits, last, read = self.model.forward(own, self._reset(state, step, rows), self._dropout_seed(step), rows)
            products += read
            loss = cross_entropy(logits, targets) * share
        gradients = summands(tape, loss, products, self.model.trainable_variables)
        return loss, gradients, last if following is None else following

    def clipped(self, gradients: list[tf.Tensor], norm: tf.Tensor) -> list[tf.Tensor]:
        """Returns the clipped gradients; `norm` is their global norm before."""
        if not self.config.clip_norm:
            return gradients
        return tf.clip_by_global_norm(gradients, self.config.clip_norm, use_norm=norm)[0]

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """Changes the weights."""
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def means_and_weights(self) -> tuple[tf.Tensor, list[tuple[tf.Variable, tf.Variable]]]:
        """Returns the number of weights in the mean, scalar float32, and `(mean, weight)` of each variable."""
        if not self.averaged:
            return tf.constant(1.0), []
        first = (self.config.average_from_epoch - 1) * self.windows.steps_per_epoch
        count = tf.cast(tf.maximum(self.optimizer.iterations - first, 1), tf.float32)
        return count, list(zip(self.averaged.trainable_variables, self.model.trainable_variables, strict=True))

    def _reset(self, state: State, step: tf.Tensor, rows: Rows | None) -> State:
        """Returns the state before the windows of `step`: zero in a random fraction of the rows.

        Like dropout, the choice of the rows is a pure function of the step.
        """
        if not self.config.state_reset_rate:
            return state
        seed = folded(self._dropout_seed(step), _RESETS)
        kept = dropout(tf.ones([1, state[0].shape[0], 1]), self.config.state_reset_rate, seed, rows)[0] > 0
        return tuple(tf.where(kept, part, 0.0) for part in state)

    def _dropout_seed(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the dropout seed of `step`: dropout is a pure function of the step, so that resuming is exact."""
        return tf.stack([self.config.seed, step])


class CompiledUpdates:
    """Many updates on one device, in one call.

    The whole call can be one compiled function. On a CPU, XLA runs most operations of such a function on one core. So a
    call can also consist of several. The rows of a minibatch are divided into groups: one compiled function computes
    the gradients of each group, all at the same time. TensorFlow multiplies out those of weights, adds all up and
    computes their norm on all cores. Another compiled function applies them.
    """

    def __init__(self, updates: Updates, num_groups: int = 1, *, whole: bool = False):
        """Prepares the functions; they are traced at the first call.

        Args:
          updates: what one update consists of.
          num_groups: of rows, a divisor of B.
          whole: whether the call is one compiled function; without groups.
        """
        self._updates = updates
        self._num_groups = num_groups
        self._group_size = updates.windows.batch_size // num_groups
        jit = updates.config.jit
        self._loss_and_gradients = tf.function(self._of_group, jit_compile=jit, autograph=False)
        self._alone = tf.function(lambda *args: self._loss_and_gradients(*args), autograph=False)
        self._has_run = False
        self._update = tf.function(self._apply_if_finite, jit_compile=jit, autograph=False)
        self._call = tf.function(self._in_graph, jit_compile=jit and whole, autograph=False)

    def __call__(
        self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        """Applies the first `count` updates of `[S, B, ...]`; stops before one whose loss or norm is not finite.

        `state` precedes the first window that the first minibatch reads, which is a context window if there is one.

        Returns:
          losses, norms (before clipping), both `[S] float32`, and the state for the next minibatch.
        """
        if self._num_groups > 1 and not self._has_run:
            # XLA's code for reductions (YNNPACK, in TensorFlow 2.21) is made at its first run, by a function that is
            # not thread-safe: two groups at the same time could crash. One that runs alone makes it.
            self._alone(self._updates.step, *self._rows((inputs[0], targets[0], state), 0))
            self._has_run = True
        return self._call(inputs, targets, count, state)

    def _in_graph(
        self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        updates, windows = self._updates, self._updates.windows
        carried = windows.sampling == 'consecutive'

        def body(s, finite, state, losses, norms):
            before = state if carried else updates.model.zero_state(windows.batch_size)
            step, minibatch = updates.step, (inputs[s], targets[s], before)
            found = [self._loss_and_gradients(step, *self._rows(minibatch, n)) for n in range(self._num_groups)]
            losses_of_groups, gradients_of_groups, states = zip(*found, strict=True)
            loss = tf.add_n(losses_of_groups)
            gradients = [added(*groups) for groups in zip(*gradients_of_groups, strict=True)]
            norm = tf.linalg.global_norm(gradients)
            finite = self._update(loss, norm, gradients)
            state = tuple(tf.concat(parts, 0) for parts in zip(*states, strict=True))
            return s + 1, finite, state, losses.write(s, loss), norms.write(s, norm)

        per_minibatch = [tf.TensorArray(tf.float32, inputs.shape[0], element_shape=[]) for _ in range(2)]
        _, _, state, losses, norms = tf.while_loop(
            lambda s, finite, *_: (s < count) & finite,
            body,
            (0, tf.constant(True), state, *per_minibatch),
            parallel_iterations=1,
        )
        return losses.stack(), norms.stack(), state

    def _rows(self, minibatch: tuple, group: int) -> tuple:
        """Returns the number of the first row of a group, and its rows of the inputs, targets and states."""
        first = group * self._group_size
        return tf.constant(first), *tf.nest.map_structure(
            lambda part: part[first : first + self._group_size], minibatch
        )

    def _of_group(
        self, step: tf.Tensor, first: tf.Tensor, inputs: tf.Tensor, targets: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, list[Summands], State]:
        rows = Rows(first, self._updates.windows.batch_size) if self._num_groups > 1 else None
        return self._updates.loss_and_gradients(inputs, targets, state, step, rows)

    def _apply_if_finite(self, loss: tf.Tensor, norm: tf.Tensor, gradients: list[tf.Tensor]) -> tf.Tensor:
        """Applies the gradients, whose global norm is `norm`, unless loss or norm is not finite; returns whether."""
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        clipped = self._updates.clipped(gradients, norm)
        return tf.cond(finite, lambda: self._apply(clipped), lambda: tf.constant(False))

    def _apply(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        self._updates.apply(gradients)
        count, pairs = self._updates.means_and_weights()
        for mean, weight in pairs:
            mean.assign_add((weight - mean) / count)
        return tf.constant(True)
