"""Early stopping on the held-out loss."""

import math

import tensorflow as tf


class EarlyStopping(tf.Module):
    """The lowest held-out loss so far and the number of evaluations since.

    Both are variables, so that checkpoints include them and a resumed run stops where an uninterrupted one would.
    """

    def __init__(self, patience: int):
        """Stops after `patience` evaluations without a lower loss; 0: never."""
        super().__init__()
        self.patience = patience
        self._best = tf.Variable(math.inf, dtype=tf.float64, name='best')
        self._since_best = tf.Variable(0, dtype=tf.int64, name='since_best')

    def improves(self, nats: float) -> bool:
        """Returns whether this loss is the lowest so far; NaN never is."""
        return nats < self.best

    def note(self, nats: float) -> None:
        """Records the loss of one evaluation, in nats per character."""
        if self.improves(nats):
            self._best.assign(nats)
            self._since_best.assign(0)
        else:
            self._since_best.assign_add(1)

    @property
    def best(self) -> float:
        """Nats per character; inf before the first evaluation."""
        return float(self._best)

    @property
    def since_best(self) -> int:
        """Evaluations since the lowest loss."""
        return int(self._since_best)

    @property
    def is_due(self) -> bool:
        """Whether training should stop."""
        return 0 < self.patience <= self.since_best
