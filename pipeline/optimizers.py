"""The optimizer and the learning-rate schedule of a run, from Keras."""

import keras
import tensorflow as tf
from keras.optimizers import schedules
from keras.optimizers.schedules import LearningRateSchedule

from pipeline.config import TrainingConfig

_EXPONENTIAL_DECAY = 0.01  # last rate of the exponential schedule, relative to the first


class Schedule(LearningRateSchedule):
    """A linear warm-up to the first rate of another schedule, then that schedule, over the rest of the run."""

    def __init__(self, after: LearningRateSchedule, num_warmup_steps: int, num_steps: int | tf.Variable):
        """`after` maps the fraction of the rest of the run that is done to a rate."""
        super().__init__()
        self._after = after
        self._num_warmup_steps = num_warmup_steps
        self._num_steps = num_steps

    def __call__(self, step):
        """Returns the rate of update `step`, counted from 0."""
        done = keras.ops.cast(step, 'float32') - self._num_warmup_steps
        length = keras.ops.cast(self._num_steps, 'float32') - self._num_warmup_steps
        rising = self._after(0.0) * (1 + (done + 1) / max(self._num_warmup_steps, 1))
        fraction = keras.ops.maximum(done, 0.0) / keras.ops.maximum(length, 1.0)
        return keras.ops.where(done < 0, rising, self._after(fraction))


def schedule(config: TrainingConfig, num_steps: int | tf.Variable) -> LearningRateSchedule:
    """Returns the learning-rate schedule of a run of `num_steps` updates; a variable may change in the run.

    After a linear warm-up, the rate is `constant`, or falls to 0 by half a `cosine` (Loshchilov and Hutter 2017), or
    falls to a hundredth (`exponential`).
    """
    if config.schedule == 'cosine':
        after = schedules.CosineDecay(config.learning_rate, decay_steps=1)
    else:
        last = _EXPONENTIAL_DECAY if config.schedule == 'exponential' else 1.0
        after = schedules.ExponentialDecay(config.learning_rate, decay_steps=1, decay_rate=last)
    return Schedule(after, config.warmup_steps, num_steps)


def optimizer(config: TrainingConfig, num_steps: int | tf.Variable) -> keras.Optimizer:
    """Returns the optimizer of a run of `num_steps` updates."""
    rate = schedule(config, num_steps)
    if config.optimizer == 'sgd':
        return keras.optimizers.SGD(rate, momentum=config.momentum)
    if config.optimizer == 'rmsprop':
        return keras.optimizers.RMSprop(rate, momentum=config.momentum)
    if config.optimizer == 'adamw':
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    return keras.optimizers.Adam(rate)
