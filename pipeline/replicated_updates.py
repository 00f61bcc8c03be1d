"""Updates that replicas make together."""

import math

import tensorflow as tf

from pipeline.cells import State
from pipeline.model import Rows
from pipeline.replicas import Replicas
from pipeline.updates import Updates
from pipeline.weight_gradients import Summands, added


class ReplicatedUpdates:
    """The updates of `CompiledUpdates`, by replicas that each read some rows of a minibatch.

    The gradients are summed over the replicas before their global norm is computed and clipped, so an update is that
    of one device. A minibatch takes two calls: the loss and the gradient of the rows, compiled, and the rest.
    """

    def __init__(self, updates: Updates, replicas: Replicas):
        self._updates, self._replicas = updates, replicas
        self._num_rows = updates.windows.batch_size // replicas.count
        self._compiled = tf.function(self._of_rows, jit_compile=updates.config.jit, autograph=False)
        run = replicas.strategy.run
        self._begin = tf.function(lambda state: run(self._own_state, args=(state,)), autograph=False)
        self._gradients = tf.function(lambda *args: run(self._on_replica, args=args), autograph=False)
        self._apply = tf.function(self._apply_everywhere, autograph=False)
        gather = replicas.strategy.gather
        self._gather = tf.function(lambda state: tuple(gather(part, 0) for part in state), autograph=False)

    def __call__(
        self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        """As `CompiledUpdates`; inputs and targets are the rows of the replicas of this process."""
        replicas, windows = self._replicas, self._updates.windows
        size = inputs.shape[0]
        losses, norms = [0.0] * size, [0.0] * size
        carried = windows.sampling == 'consecutive'
        first = self._begin(state if carried else self._updates.model.zero_state(windows.batch_size))
        own = first
        for s in range(int(count)):
            before = own if carried else first
            step = tf.constant(int(self._updates.optimizer.iterations.numpy()), tf.int32)
            loss, norm, gradients, own = self._gradients(inputs[s], targets[s], before, step)
            losses[s], norms[s] = float(replicas.local(loss)), float(replicas.local(norm))
            if not (math.isfinite(losses[s]) and math.isfinite(norms[s])):
                break
            self._apply(gradients)
        return tf.constant(losses), tf.constant(norms), self._gather(own)

    def _own_state(self, state: State) -> State:
        """Returns the rows of the current replica of a state of all rows."""
        first = self._replicas.index() * self._num_rows
        return tuple(part[first : first + self._num_rows] for part in state)

    def _on_replica(
        self, inputs: tf.Tensor, targets: tf.Tensor, state: State, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], State]:
        """Returns loss and norm of the minibatch, its clipped gradients, and the next state of the rows."""
        first = self._replicas.local_index() * self._num_rows
        rows = slice(first, first + self._num_rows)
        context = tf.distribute.get_replica_context()
        first_of_all = self._replicas.index() * self._num_rows
        loss, gradients, state = self._compiled(inputs[rows], targets[rows], state, step, first_of_all)
        loss, *gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *map(added, gradients)])
        norm = tf.linalg.global_norm(gradients)
        return loss, norm, self._updates.clipped(gradients, norm), state

    def _of_rows(
        self, inputs: tf.Tensor, targets: tf.Tensor, state: State, step: tf.Tensor, first: tf.Tensor
    ) -> tuple[tf.Tensor, list[Summands], State]:
        inputs, targets = (tf.ensure_shape(ids, [self._num_rows, None]) for ids in (inputs, targets))
        state = tuple(tf.ensure_shape(part, [self._num_rows, None]) for part in state)
        rows = Rows(first, self._updates.windows.batch_size)
        return self._updates.loss_and_gradients(inputs, targets, state, step, rows)

    def _apply_on_replica(self, gradients: list[tf.Tensor]) -> None:
        """Changes the weights of the current replica; Keras sums the gradients over the replicas again."""
        self._updates.apply([gradient / self._replicas.count for gradient in gradients])

    def _apply_everywhere(self, gradients: list[tf.Tensor]) -> None:
        strategy = self._replicas.strategy
        strategy.run(self._apply_on_replica, args=(gradients,))
        count, pairs = self._updates.means_and_weights()
        for mean, weight in pairs:
            strategy.extended.update(mean, _add_to_mean, args=(weight, count))


def _add_to_mean(mean: tf.Variable, weight: tf.Tensor, count: tf.Tensor) -> None:
    mean.assign_add((weight - mean) / count)
