"""The training loop: each compiled call trains many minibatches."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.ids import Ids
from data.windows import Windows, stacked
from pipeline import optimizers
from pipeline.cells import State
from pipeline.config import TrainingConfig
from pipeline.devices import HOST
from pipeline.early_stopping import EarlyStopping
from pipeline.model import CharRNN, cross_entropy, dropout, folded
from pipeline.perplexity import perplexity
from pipeline.time_limit import TimeLimit

# Enough to hide the overhead of a call, and few enough to react soon to a stop request.
MINIBATCHES_PER_CALL = 32
_OPERATIONS_PER_CALL = 3e11  # about two seconds on two cores, so that a large model reacts as soon

_RESETS = -1  # folded into a seed; `CharRNN` folds the numbers of its layers


class DivergenceError(InputError):
    """A loss or a gradient norm is not finite; the trainer has not applied that update."""


class Means(NamedTuple):
    """Means over minibatches."""

    loss: float
    """Nats a character."""
    global_norm: float
    """L2 norm of all gradients together, before clipping."""
    clipped_fraction: float
    """The fraction of the minibatches whose norm was above `clip_norm`."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a run after a call."""

    step: int
    """Minibatches since the start of the run."""
    epoch: int
    """The epoch of the last minibatch, counted from 1."""
    epoch_ended: bool
    """Also where the time of the run ends within an epoch."""
    may_be_due: bool
    """Whether something may be due: an interval of the settings, an epoch or the run ends at this step."""
    epoch_means: Means
    """Over the epoch so far."""
    point_means: Means
    """Over the minibatches since the last point of the curves."""
    learning_rate: float
    """Of the last update."""
    num_characters: int
    """Characters of this call; 0 if a process before this one made the call."""
    seconds: float
    """Duration of this call, including the wait for its minibatches."""

    @property
    def perplexity(self) -> float:
        """`exp` of the mean loss during the epoch, as the section prints it; inf if too large for a float32."""
        return perplexity(self.epoch_means.loss)


class Trainer(tf.Module):
    """A model, its optimizer and its position in the corpus: all variables that a checkpoint needs."""

    def __init__(
        self,
        model: CharRNN,
        windows: Windows,
        config: TrainingConfig,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`clock` returns seconds."""
        super().__init__()
        self.model = model
        self.windows = windows
        self.config = config
        self._clock = clock
        self.time_limit = TimeLimit(config.max_seconds, self._longest, clock) if config.max_seconds else None
        last_step = self.time_limit.last_step if self.time_limit else self._longest
        self.optimizer = optimizers.optimizer(config, last_step)
        self._schedule = optimizers.schedule(config, last_step)
        self.optimizer.build(model.trainable_variables)
        # The mean of the weights, in a model of its own; None: without averaging.
        self.averaged = CharRNN(model.config, model.vocabulary_size, config.seed) if config.average_from_epoch else None
        self.state = tuple(tf.Variable(part) for part in model.zero_state(windows.batch_size))
        with tf.device(HOST):
            # Sums over the epoch so far: loss, norm, clipped minibatches. A resumed epoch continues them.
            self.epoch_sums = tf.Variable(tf.zeros([3], tf.float64))
            # The same since the last point of the curves, and the number of minibatches.
            self.point_sums = tf.Variable(tf.zeros([4], tf.float64))
            # The last step after which all that was due is done; -1: not known.
            self.reported_step = tf.Variable(-1, dtype=tf.int64)
            self.early_stopping = EarlyStopping(config.early_stopping_patience)
        self._train = tf.function(self._train_in_graph, jit_compile=config.jit, autograph=False)

    @property
    def evaluated_model(self) -> CharRNN:
        """The model with the weights to evaluate, sample and export: averaged, if the settings say so."""
        return self.averaged or self.model

    @property
    def step(self) -> int:
        """Minibatches trained so far, as counted by the optimizer."""
        return int(self.optimizer.iterations)

    @property
    def num_epochs_done(self) -> int:
        """Epochs trained and reported, with the one in which the time of the run ended."""
        unreported = self._is_unreported and self._num_epochs_ended * self.windows.steps_per_epoch >= self.step
        return self._num_epochs_ended - unreported

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to train, evaluate or sample."""
        return self.step >= self.last_step and not self._is_unreported

    @property
    def last_step(self) -> int:
        """Minibatches trained at the end of the run; with a time limit, an estimate until the time is over."""
        return int(self.time_limit.last_step) if self.time_limit else self._longest

    def train(self, ids: Ids, before_call: Callable[[int, int], None] = lambda first, last: None) -> Iterator[Progress]:
        """Trains from the current step to the end of the run; yields the progress after each call.

        A step that was stopped before all that is due after it was done is yielded first.
        `before_call` is called before each call, whose steps are `first` to `last - 1`.

        Raises:
          DivergenceError: a loss or norm is not finite.
        """
        per_epoch = self.windows.steps_per_epoch
        stack_size = min(per_epoch, self._minibatches_per_call)
        calls = stacked(self.windows, ids, self.step, self._longest, stack_size=stack_size, periods=self._periods)
        if self._is_unreported:
            first_step = (self.step - 1) // per_epoch * per_epoch
            progress = self._progress(first_step, self.step - first_step, self.epoch_sums.numpy(), seconds=0.0)
            yield dataclasses.replace(progress, num_characters=0)
        if self.time_limit:
            self.time_limit.start()
        start = self._clock()
        for inputs, targets, count in calls:
            if self.step >= self.last_step:
                return
            before_call(self.step, self.step + int(count))
            yield self._train_call(inputs, targets, count, start)
            start = self._clock()

    @property
    def _minibatches_per_call(self) -> int:
        """A weight takes at most two operations per character in the forward pass, and four in the backward pass."""
        characters = self.windows.batch_size * self.windows.num_steps * (self.windows.context + 1)
        operations = 6 * self.model.num_parameters * characters
        return max(1, min(MINIBATCHES_PER_CALL, int(_OPERATIONS_PER_CALL / operations)))

    @property
    def _longest(self) -> int:
        """Minibatches trained at the end of the last epoch."""
        return self.config.num_epochs * self.windows.steps_per_epoch

    @property
    def _num_epochs_ended(self) -> int:
        """Epochs trained; when the time of the run is over, with the one in which it ended."""
        whole, rest = divmod(self.step, self.windows.steps_per_epoch)
        return whole + (rest > 0 and self.step >= self.last_step)

    @property
    def _periods(self) -> set[int]:
        """The intervals of what is done between calls, in steps."""
        config, per_epoch = self.config, self.windows.steps_per_epoch
        names = ('evaluate_every', 'sample_every', *(['log_every'] if config.log_every else []))
        return {per_epoch, *(config.interval(name).without_epochs(per_epoch).steps for name in names)} - {0}

    @property
    def _is_unreported(self) -> bool:
        return 0 <= int(self.reported_step) < self.step and self._call_ends_at(self.step)

    def _call_ends_at(self, step: int) -> bool:
        return step >= self.last_step or any(step % period == 0 for period in self._periods)

    def know_reported_step(self) -> None:
        """Takes all that was due as done, if that is not known: in a new run, or one of an older version."""
        if self.reported_step < 0:
            self.reported_step.assign(self.step)

    def start_point(self) -> None:
        """Starts the sums of the next point of the curves."""
        self.point_sums.assign(tf.zeros_like(self.point_sums))

    def _train_call(self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, start: float) -> Progress:
        first_step, per_epoch = self.step, self.windows.steps_per_epoch
        if first_step % per_epoch == 0:
            self._start_epoch()
        losses, norms, state = self._train(inputs, targets, count, tuple(part.value() for part in self.state))
        losses, norms = losses.numpy()[: int(count)], norms.numpy()[: int(count)]
        self._check_finite(losses, norms, first_step)
        for variable, value in zip(self.state, state, strict=True):
            variable.assign(value)
        # One by one, so that the sums do not depend on how the epoch is divided into calls.
        sums, point_sums = self.epoch_sums.numpy(), self.point_sums.numpy()
        for loss, norm in zip(losses, norms, strict=True):
            own = [loss, norm, norm > self.config.clip_norm > 0]
            sums += own
            point_sums += [*own, 1]
        self.epoch_sums.assign(sums)
        self.point_sums.assign(point_sums)
        if self.time_limit:
            self.time_limit.note(self.step)
        return self._progress(first_step, len(losses), sums, self._clock() - start)

    def _start_epoch(self) -> None:
        self.epoch_sums.assign(tf.zeros_like(self.epoch_sums))
        for part in self.state:
            part.assign(tf.zeros_like(part))

    def _progress(self, first_step: int, count: int, sums: np.ndarray, seconds: float) -> Progress:
        per_epoch = self.windows.steps_per_epoch
        step = first_step + count
        *point_sums, num_of_point = self.point_sums.numpy()
        with tf.device(HOST):
            learning_rate = float(self._schedule(step - 1))
        return Progress(
            step=step,
            epoch=first_step // per_epoch + 1,
            epoch_ended=step % per_epoch == 0 or step >= self.last_step,
            may_be_due=self._call_ends_at(step),
            epoch_means=Means(*(sums / (first_step % per_epoch + count)).tolist()),
            point_means=Means(*(np.array(point_sums) / max(num_of_point, 1)).tolist()),
            learning_rate=learning_rate,
            num_characters=count * self.windows.batch_size * self.windows.num_steps,
            seconds=seconds,
        )

    def _train_in_graph(
        self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        """Applies the first `count` updates of `[S, B, ...]`; stops before one whose loss or norm is not finite.

        `state` precedes the first window that the first minibatch reads, which is a context window if there is one.

        Returns:
          losses, norms (before clipping), both `[S] float32`, and the state for the next minibatch.
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
        """Returns loss, global norm, clipped gradients and next state of one minibatch.

        Inputs are `[B, (C+1)·T]`. The gradient of the last window's loss flows back through the C context windows,
        which are read again from the state before them. At the start of an epoch there are fewer than C.
        """
        *context, own = tf.split(inputs, self.windows.context + 1, axis=1)
        step = tf.cast(self.optimizer.iterations, tf.int32)
        following = None
        with tf.GradientTape() as tape:
            for ago, window in zip(range(len(context), 0, -1), context, strict=True):
                _, after = self.model(window, self._reset(state, step - ago), self._dropout_seed(step - ago))
                exists = step % self.windows.steps_per_epoch >= ago
                state = tuple(tf.where(exists, new, old) for new, old in zip(after, state, strict=True))
                if following is None:
                    following = state
            logits, last = self.model(own, self._reset(state, step), self._dropout_seed(step))
            loss = cross_entropy(logits, targets)
        # The gradient of the gather is IndexedSlices with unsummed rows, so its norm would be wrong: make it dense.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, self.model.trainable_variables)]
        norm = tf.linalg.global_norm(gradients)
        if self.config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm, use_norm=norm)
        return loss, norm, gradients, last if following is None else following

    def _reset(self, state: State, step: tf.Tensor) -> State:
        """Returns the state before the windows of `step`: zero in a random fraction of the rows.

        Like dropout, the choice of the rows is a pure function of the step.
        """
        if not self.config.state_reset_rate:
            return state
        seed = folded(self._dropout_seed(step), _RESETS)
        kept = dropout(tf.ones([self.windows.batch_size, 1]), self.config.state_reset_rate, seed) > 0
        return tuple(tf.where(kept, part, 0.0) for part in state)

    def _dropout_seed(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the dropout seed of `step`: dropout is a pure function of the step, so that resuming is exact."""
        return tf.stack([self.config.seed, step])

    def _update(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        self.optimizer.apply(gradients, self.model.trainable_variables)
        if self.averaged:
            first = (self.config.average_from_epoch - 1) * self.windows.steps_per_epoch
            count = tf.cast(tf.maximum(self.optimizer.iterations - first, 1), tf.float32)
            weights = zip(self.averaged.trainable_variables, self.model.trainable_variables, strict=True)
            for mean, weight in weights:
                mean.assign_add((weight - mean) / count)
        return tf.constant(True)

    def _check_finite(self, losses: np.ndarray, norms: np.ndarray, first_step: int) -> None:
        bad = np.flatnonzero(~(np.isfinite(losses) & np.isfinite(norms)))
        if not bad.size:
            return
        step = first_step + int(bad[0])
        advice = 'lower --learning_rate' + ('' if self.config.clip_norm else ' or turn clipping on (--clip_norm=0.01)')
        raise DivergenceError(
            f'training diverged at step {step + 1} (epoch {step // self.windows.steps_per_epoch + 1}): loss '
            f'{losses[bad[0]]}, gradient norm {norms[bad[0]]}. That update was not applied and nothing was saved '
            f'since. What to try: {advice}.'
        )
