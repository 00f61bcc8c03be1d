"""The replicas of a model that train together: on the GPUs of a machine, or on several machines.

Each replica reads some rows of every minibatch. The sum of their gradients is that of one device, so the updates are
the same whatever the number of replicas, but for rounding.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def scope(replicas: 'Replicas | None') -> contextlib.AbstractContextManager:
    """Returns a context whose variables have a copy for each replica; None: one device."""
    return replicas.strategy.scope() if replicas else contextlib.nullcontext()


class Replicas:
    """The replicas that a `tf.distribute` strategy has."""

    def __init__(self, strategy: tf.distribute.Strategy, worker: int = 0, num_workers: int = 1):
        """`worker` is the number of this process among `num_workers`."""
        self.strategy = strategy
        self.worker, self.num_workers = worker, num_workers
        self.count: int = strategy.num_replicas_in_sync
        self._totals = tf.function(lambda values: strategy.run(self._sums, args=(values,)), autograph=False)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.worker == 0

    def index(self) -> tf.Tensor:
        """Returns the number of the current replica; for use inside `strategy.run`."""
        return tf.convert_to_tensor(tf.distribute.get_replica_context().replica_id_in_sync_group)

    def local_index(self) -> tf.Tensor:
        """Returns the number of the current replica among those of this process; for use inside `strategy.run`."""
        return self.index() - self.worker * (self.count // self.num_workers)

    def any(self, *flags: bool) -> list[bool]:
        """Returns for each flag whether it is true in any process; all call it at the same time."""
        (totals,) = self._totals([tf.constant(flags, tf.float32)])
        return (self.local(totals).numpy() > 0).tolist()

    def take_from_chief(self, variables: Sequence[tf.Variable]) -> None:
        """Sets variables to the values that they have in the chief; all processes call it at the same time."""
        values = [tf.convert_to_tensor(variable) for variable in variables]
        totals = self._totals(values if self.is_chief else [tf.zeros_like(value) for value in values])
        for variable, total in zip(variables, totals, strict=True):
            variable.assign(self.local(total))

    def local(self, value: Any) -> Any:
        """Returns the value of the first replica of this process."""
        return self.strategy.experimental_local_results(value)[0]

    def _sums(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the sums over the first replica of each process."""
        is_first = self.local_index() == 0
        own = [tf.where(is_first, value, tf.zeros_like(value)) for value in values]
        return [tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value) for value in own]
