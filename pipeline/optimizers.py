"""The optimizer and the learning-rate schedule of a run, from Keras."""

import keras
from keras.optimizers import schedules
from keras.optimizers.schedules import LearningRateSchedule

from pipeline.config import TrainingConfig

_EXPONENTIAL_DECAY = 0.01  # last rate of the exponential schedule, relative to the first


class Warmup(LearningRateSchedule):
    """A linear warm-up of `num_steps` updates to the first rate of the schedule `after`, then `after` itself."""

    def __init__(self, after: LearningRateSchedule, num_steps: int):
        super().__init__()
        self._after = after
        self._num_steps = num_steps

    def __call__(self, step):
        """Returns the rate of update `step`, counted from 0."""
        done = keras.ops.cast(step, 'float32') - self._num_steps
        rising = self._after(0.0) * (1 + (done + 1) / self._num_steps)
        return keras.ops.where(done < 0, rising, self._after(keras.ops.maximum(done, 0.0)))


def schedule(config: TrainingConfig, num_steps: int) -> LearningRateSchedule:
    """Returns the learning-rate schedule of a run of `num_steps` updates.

    After a linear warm-up, the rate is `constant`, or falls to 0 by half a `cosine` (Loshchilov and Hutter 2017), or
    falls to a hundredth (`exponential`).
    """
    after_warmup = max(num_steps - config.warmup_steps, 1)
    if config.schedule == 'cosine':
        after = schedules.CosineDecay(config.learning_rate, after_warmup)
    else:
        last = _EXPONENTIAL_DECAY if config.schedule == 'exponential' else 1.0
        after = schedules.ExponentialDecay(config.learning_rate, after_warmup, last)
    return Warmup(after, config.warmup_steps) if config.warmup_steps else after


def optimizer(config: TrainingConfig, num_steps: int) -> keras.Optimizer:
    """Returns the optimizer of a run of `num_steps` updates."""
    rate = schedule(config, num_steps)
    if config.optimizer == 'sgd':
        return keras.optimizers.SGD(rate, momentum=config.momentum)
    if config.optimizer == 'rmsprop':
        return keras.optimizers.RMSprop(rate, momentum=config.momentum)
    if config.optimizer == 'adamw':
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    return keras.optimizers.Adam(rate)
