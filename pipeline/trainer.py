"""The compiled training loop: Python outside, many minibatches a call inside."""

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.windows import Windows, stacked
from pipeline import optimizers
from pipeline.cells import State
from pipeline.config import TrainingConfig
from pipeline.early_stopping import EarlyStopping
from pipeline.evaluation import perplexity
from pipeline.model import CharRNN, cross_entropy

# So many minibatches are enough to hide the cost of a call, and few enough to stop soon when asked to.
MINIBATCHES_PER_CALL = 32


class DivergenceError(InputError):
    """A loss or a gradient norm is not finite; the update that it would have made was left out."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands after a call. The means are over the minibatches of the current epoch so far."""

    step: int
    """Minibatches since the start of the run."""
    epoch: int
    """The epoch of the last minibatch, counted from 1."""
    epoch_ended: bool
    loss: float
    """Nats a character."""
    global_norm: float
    """L2 norm of all gradients together, before clipping."""
    clipped_fraction: float
    """The part of the minibatches whose norm was above `clip_norm`."""
    learning_rate: float
    """Of the last update."""
    num_characters: int
    """Characters of this call."""
    seconds: float
    """How long this call took, with the wait for its minibatches."""

    @property
    def perplexity(self) -> float:
        """`exp` of the mean loss, while the weights move, as the section prints it; inf where that is too large."""
        return perplexity(self.loss)


class Trainer(tf.Module):
    """A model, its optimizer and where they are in the corpus: all that a checkpoint must hold to go on."""

    def __init__(self, model: CharRNN, windows: Windows, config: TrainingConfig):
        super().__init__()
        self.model = model
        self.windows = windows
        self.config = config
        self.optimizer = optimizers.optimizer(config, self.last_step)
        self._schedule = optimizers.schedule(config, self.last_step)
        self.optimizer.build(model.trainable_variables)
        self.state = tuple(tf.Variable(part) for part in model.zero_state(windows.batch_size))
        # Sums over the epoch so far: loss, norm, clipped minibatches; so that a resumed epoch reports the whole epoch.
        self.epoch_sums = tf.Variable(tf.zeros([3], tf.float64))
        self.early_stopping = EarlyStopping(config.early_stopping_patience)
        self._train = tf.function(self._train_in_graph, jit_compile=config.jit)

    @property
    def step(self) -> int:
        """Minibatches trained so far; the optimizer counts them."""
        return int(self.optimizer.iterations)

    @property
    def last_step(self) -> int:
        """Minibatches trained at the end of the last epoch."""
        return self.config.num_epochs * self.windows.steps_per_epoch

    def train(
        self, ids: np.ndarray, before_call: Callable[[int, int], None] = lambda first, last: None
    ) -> Iterator[Progress]:
        """Trains from where it stands to the end of the last epoch, and yields after each call.

        `before_call` hears of each call before it is made: its steps are `first` to `last - 1`.

        Raises:
          DivergenceError: a loss or norm is not finite.
        """
        per_epoch = self.windows.steps_per_epoch
        calls = stacked(
            self.windows, tf.constant(ids), self.step, self.last_step, stack_size=min(per_epoch, MINIBATCHES_PER_CALL)
        )
        start = time.perf_counter()
        for inputs, targets, count in calls:
            before_call(self.step, self.step + int(count))
            yield self._train_call(inputs, targets, count, start)
            start = time.perf_counter()

    def _train_call(self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, start: float) -> Progress:
        first_step, per_epoch = self.step, self.windows.steps_per_epoch
        if first_step % per_epoch == 0:
            self._start_epoch()
        losses, norms, state = self._train(inputs, targets, count, tuple(part.value() for part in self.state))
        losses, norms = losses.numpy()[: int(count)], norms.numpy()[: int(count)]
        self._check_finite(losses, norms, first_step)
        for variable, value in zip(self.state, state, strict=True):
            variable.assign(value)
        # One after the other, so that the sums do not depend on how the epoch was cut into calls.
        sums = self.epoch_sums.numpy()
        for loss, norm in zip(losses, norms, strict=True):
            sums += [loss, norm, norm > self.config.clip_norm > 0]
        self.epoch_sums.assign(sums)
        return self._progress(first_step, len(losses), sums, time.perf_counter() - start)

    def _start_epoch(self) -> None:
        self.epoch_sums.assign(tf.zeros_like(self.epoch_sums))
        for part in self.state:
            part.assign(tf.zeros_like(part))

    def _progress(self, first_step: int, count: int, sums: np.ndarray, seconds: float) -> Progress:
        per_epoch = self.windows.steps_per_epoch
        step = first_step + count
        loss, norm, clipped = (float(s) for s in sums / (first_step % per_epoch + count))
        return Progress(
            step=step,
            epoch=first_step // per_epoch + 1,
            epoch_ended=step % per_epoch == 0,
            loss=loss,
            global_norm=norm,
            clipped_fraction=clipped,
            learning_rate=float(self._schedule(step - 1)),
            num_characters=count * self.windows.batch_size * self.windows.num_steps,
            seconds=seconds,
        )

    def _train_in_graph(
        self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        """Makes the first `count` updates of `[S, B, ...]`; stops before one whose loss or norm is not finite.

        `state` stands before the first window that the first minibatch reads, which is its own or, with context, one
        before it.

        Returns:
          losses, norms (before clipping), both `[S] float32`, and the state for the minibatch after the last.
        """
        carried = self.windows.sampling == 'consecutive'

        def body(s, finite, state, losses, norms):
            before = state if carried else self.model.zero_state(self.windows.batch_size)
            loss, norm, gradients, state = self._gradients(inputs[s], targets[s], before)
            finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
            tf.cond(finite, lambda: self._update(gradients), lambda: tf.constant(False))
            return s + 1, finite, state, losses.write(s, loss), norms.write(s, norm)

        per_minibatch = [tf.TensorArray(tf.float32, inputs.shape[0], element_shape=[]) for _ in range(2)]
        _, _, state, losses, norms = tf.while_loop(
            lambda s, finite, *_: (s < count) & finite, body, (0, tf.constant(True), state, *per_minibatch)
        )
        return losses.stack(), norms.stack(), state

    def _gradients(
        self, inputs: tf.Tensor, targets: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], State]:
        """Loss, global norm, clipped gradients and next state of one minibatch.

        Inputs `[B, (C+1)·T]`: the gradient of the last window's loss flows back through the C windows of context too,
        as far as the epoch has them, which are read again from the state before them.
        """
        *context, own = tf.split(inputs, self.windows.context + 1, axis=1)
        step = tf.cast(self.optimizer.iterations, tf.int32)
        following = None
        with tf.GradientTape() as tape:
            for ago, window in zip(range(len(context), 0, -1), context, strict=True):
                _, after = self.model(window, state, self._dropout_seed(step - ago))
                exists = step % self.windows.steps_per_epoch >= ago
                state = tuple(tf.where(exists, new, old) for new, old in zip(after, state, strict=True))
                if following is None:
                    following = state
            logits, last = self.model(own, state, self._dropout_seed(step))
            loss = cross_entropy(logits, targets)
        # The gather's gradient comes as rows not yet summed, whose norm is not the gradient's: make it dense first.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, self.model.trainable_variables)]
        norm = tf.linalg.global_norm(gradients)
        if self.config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm, use_norm=norm)
        return loss, norm, gradients, last if following is None else following

    def _dropout_seed(self, step: tf.Tensor) -> tf.Tensor:
        """Dropout is a function of the step, as the minibatches are: a run that goes on drops what it would have."""
        return tf.stack([self.config.seed, step])

    def _update(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return tf.constant(True)

    def _check_finite(self, losses: np.ndarray, norms: np.ndarray, first_step: int) -> None:
        bad = np.flatnonzero(~(np.isfinite(losses) & np.isfinite(norms)))
        if not bad.size:
            return
        step = first_step + int(bad[0])
        advice = 'lower --learning_rate' + ('' if self.config.clip_norm else ' or turn clipping on (--clip_norm=0.01)')
        raise DivergenceError(
            f'training diverged at step {step + 1} (epoch {step // self.windows.steps_per_epoch + 1}): loss '
            f'{losses[bad[0]]}, gradient norm {norms[bad[0]]}. That update was not made and nothing was saved since. '
            f'What to try: {advice}.'
        )
