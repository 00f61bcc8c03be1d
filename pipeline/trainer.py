"""The training loop: each call trains many minibatches."""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.ids import Ids
from data.windows import Windows, stacked
from pipeline import advice, devices, optimizers
from pipeline.config import Config, TrainingConfig
from pipeline.devices import HOST
from pipeline.early_stopping import EarlyStopping
from pipeline.model import CharRNN
from pipeline.perplexity import perplexity
from pipeline.replicas import Replicas, scope
from pipeline.replicated_updates import ReplicatedUpdates
from pipeline.time_limit import TimeLimit
from pipeline.updates import CompiledUpdates, Updates

# Enough to hide the overhead of a call, and few enough to react soon to a stop request.
MINIBATCHES_PER_CALL = 32
_OPERATIONS_PER_CALL = 3e11  # about two seconds on two cores, so that a large model reacts as soon


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


def make_trainer(config: Config, vocabulary_size: int, windows: Windows, replicas: Replicas | None) -> 'Trainer':
    """Returns the trainer of a new model. Raises `InputError` if the replicas cannot share a minibatch equally."""
    with scope(replicas):
        model = CharRNN(config.model, vocabulary_size, config.training.seed)
    return Trainer(model, windows, config.training, replicas=replicas)


class Trainer(tf.Module):
    """A model, its optimizer and its position in the corpus: all variables that a checkpoint needs."""

    def __init__(
        self,
        model: CharRNN,
        windows: Windows,
        config: TrainingConfig,
        clock: Callable[[], float] = time.monotonic,
        replicas: Replicas | None = None,
    ):
        """Prepares the training of `model`.

        Args:
          model: made in the scope of the replicas, if there are several.
          windows: of the corpus.
          config: the settings.
          clock: returns seconds.
          replicas: of the model, which share the rows of each minibatch; None: one device.

        Raises:
          InputError: the rows of a minibatch cannot be shared equally.
        """
        super().__init__()
        self.model = model
        self.windows = windows
        self.config = config
        if replicas and windows.batch_size % replicas.count:
            raise InputError(
                f'batch_size={windows.batch_size} must be a multiple of the {replicas.count} replicas, which share '
                f'each minibatch: give another --batch_size.'
            )
        self.replicas = replicas
        self.was_asked_to_stop = False
        """Whether `should_stop` returned true, in any process."""
        self._clock = clock
        self.time_limit = TimeLimit(config.max_seconds, self._longest, clock) if config.max_seconds else None
        last_step = self.time_limit.last_step if self.time_limit else self._longest
        with scope(replicas):
            self.optimizer = optimizers.optimizer(config, last_step)
            self.optimizer.build(model.trainable_variables)
            # The mean of the weights, in a model of its own; None: without averaging.
            averages = bool(config.average_from_epoch)
            self.averaged = CharRNN(model.config, model.vocabulary_size, config.seed) if averages else None
        # Compiled, because its operations take a millisecond one by one.
        self._learning_rate = tf.function(
            optimizers.schedule(config, last_step), [tf.TensorSpec([], tf.int64)], autograph=False
        )
        self._zero_state = model.zero_state(windows.batch_size)
        self.state = tuple(tf.Variable(part) for part in self._zero_state)
        with tf.device(HOST):
            # Sums over the epoch so far: loss, norm, clipped minibatches. A resumed epoch continues them.
            self.epoch_sums = tf.Variable(tf.zeros([3], tf.float64))
            # The same since the last point of the curves, and the number of minibatches.
            self.point_sums = tf.Variable(tf.zeros([4], tf.float64))
            # The last step after which all that was due is done; -1: not known.
            self.reported_step = tf.Variable(-1, dtype=tf.int64)
            self.early_stopping = EarlyStopping(config.early_stopping_patience)
        self.updates = Updates(model, self.averaged, self.optimizer, windows, config)
        self._train = ReplicatedUpdates(self.updates, replicas) if replicas else self._compiled_updates()

    @property
    def evaluated_model(self) -> CharRNN:
        """The model with the weights to evaluate, sample and export: averaged, if the settings say so."""
        return self.averaged or self.model

    @property
    def step(self) -> int:
        """Minibatches trained so far, as counted by the optimizer."""
        return int(self.optimizer.iterations.numpy())

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

    def train(
        self,
        ids: Ids,
        before_call: Callable[[int, int], None] = lambda first, last: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Progress]:
        """Trains from the current step to the end of the run; yields the progress after each call.

        If the run was stopped before everything due after a step was done, that step is yielded first.
        `before_call` is called before each call, whose steps are `first` to `last - 1`. If there are replicas in
        several processes, all stop before the same call when `should_stop` returns true in one of them, or when one
        closes this iterator.

        Raises:
          DivergenceError: a loss or norm is not finite.
        """
        per_epoch = self.windows.steps_per_epoch
        stack_size = min(per_epoch, self._minibatches_per_call)
        calls = stacked(
            self.windows,
            ids,
            self.step,
            self._longest,
            stack_size=stack_size,
            periods=self._periods,
            shard=self.replicas.worker if self.replicas else 0,
            num_shards=self.replicas.num_workers if self.replicas else 1,
        )
        if self._is_unreported:
            first_step = (self.step - 1) // per_epoch * per_epoch
            sums = self.epoch_sums.numpy(), self.point_sums.numpy()
            progress = self._progress(first_step, self.step - first_step, *sums, seconds=0.0)
            yield from self._yielded(dataclasses.replace(progress, num_characters=0), should_stop)
        if self.time_limit:
            self.time_limit.start()
        start = self._clock()
        for inputs, targets, count in calls:
            if self._ends_together(should_stop):
                return
            before_call(self.step, self.step + int(count))
            yield from self._yielded(self._train_call(inputs, targets, count, start), should_stop)
            start = self._clock()
        self._ends_together(should_stop)

    def begins_together(self, *, ends: bool) -> bool:
        """Gives the variables of the chief to all processes, or returns True if nothing is left for it to do.

        `ends`: whether nothing is left, as the chief knows it.
        """
        if not self.replicas:
            return ends
        if any(self.replicas.any(ends)):
            return True
        self.replicas.take_from_chief([*self.variables, *(variable.value for variable in self.optimizer.variables)])
        return False

    def _compiled_updates(self) -> CompiledUpdates:
        sizes = self.windows.batch_size, self.model.config.hidden_size
        num_groups = devices.num_row_groups(*sizes) if self.config.jit else 1
        return CompiledUpdates(self.updates, num_groups, whole=devices.compiles_whole_calls(*sizes))

    def _yielded(self, progress: Progress, should_stop: Callable[[], bool]) -> Iterator[Progress]:
        """Yields `progress`; if the iterator is closed there, the other processes hear of it."""
        try:
            yield progress
        except GeneratorExit:
            self._ends_together(should_stop, closed=True)
            raise

    def _ends_together(self, should_stop: Callable[[], bool], *, closed: bool = False) -> bool:
        """Returns whether training ends, in all processes before the same call.

        With replicas all processes call this as often: before each call, and once more at the end.
        """
        if self.replicas:
            if self.time_limit:  # each process measures other times
                self.replicas.take_from_chief([self.time_limit.last_step])
            closed, self.was_asked_to_stop = self.replicas.any(closed, should_stop())
        return closed or self.was_asked_to_stop or self.step >= self.last_step

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
        """Sets `reported_step` where no checkpoint has it: in a new run, or in one of an older version."""
        if self.reported_step < 0:
            self.reported_step.assign(self.step)

    def start_point(self) -> None:
        """Starts the sums of the next point of the curves."""
        self.point_sums.assign(tf.zeros_like(self.point_sums))

    def _train_call(self, inputs: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, start: float) -> Progress:
        first_step = self.step
        starts_epoch = first_step % self.windows.steps_per_epoch == 0
        before = self._zero_state if starts_epoch else tuple(part.value() for part in self.state)
        losses, norms, state = self._train(inputs, targets, count, before)
        losses, norms = losses.numpy()[: int(count)], norms.numpy()[: int(count)]
        self._check_finite(losses, norms, first_step)
        for variable, value in zip(self.state, state, strict=True):
            variable.assign(value, read_value=False)
        # One by one, so that the sums do not depend on how the epoch is divided into calls.
        sums = np.zeros(3) if starts_epoch else self.epoch_sums.numpy()
        point_sums = self.point_sums.numpy()
        for loss, norm in zip(losses, norms, strict=True):
            own = [loss, norm, norm > self.config.clip_norm > 0]
            sums += own
            point_sums += [*own, 1]
        self.epoch_sums.assign(sums, read_value=False)
        self.point_sums.assign(point_sums, read_value=False)
        if self.time_limit:
            self.time_limit.note(self.step)
        return self._progress(first_step, len(losses), sums, point_sums, self._clock() - start)

    def _progress(
        self, first_step: int, count: int, sums: np.ndarray, point_sums: np.ndarray, seconds: float
    ) -> Progress:
        per_epoch = self.windows.steps_per_epoch
        step = first_step + count
        with tf.device(HOST):
            learning_rate = float(self._learning_rate(tf.constant(step - 1, tf.int64)))
        return Progress(
            step=step,
            epoch=first_step // per_epoch + 1,
            epoch_ended=step % per_epoch == 0 or step >= self.last_step,
            may_be_due=self._call_ends_at(step),
            epoch_means=Means(*(sums / (first_step % per_epoch + count)).tolist()),
            point_means=Means(*(point_sums[:-1] / max(point_sums[-1], 1)).tolist()),
            learning_rate=learning_rate,
            num_characters=count * self.windows.batch_size * self.windows.num_steps,
            seconds=seconds,
        )

    def _check_finite(self, losses: np.ndarray, norms: np.ndarray, first_step: int) -> None:
        bad = np.flatnonzero(~(np.isfinite(losses) & np.isfinite(norms)))
        if not bad.size:
            return
        step = first_step + int(bad[0])
        what_to_try = advice.against_divergence(self.model.config, self.config, is_updated=step > 0)
        raise DivergenceError(
            f'training diverged at step {step + 1} (epoch {step // self.windows.steps_per_epoch + 1}): loss '
            f'{losses[bad[0]]}, gradient norm {norms[bad[0]]}. That update was not applied and nothing was saved '
            f'since. What to try: {what_to_try}.'
        )
