"""Optimizer and learning-rate schedule of a run, out of Keras."""

import keras

from pipeline.config import TrainingConfig

_LAST_OF_EXPONENTIAL = 0.01  # of the first rate, at the end of the run

Schedule = keras.optimizers.schedules.LearningRateSchedule


class Warmup(Schedule):
    """Rises linearly to the first rate of `after` in `num_steps` updates, then follows `after` from its start."""

    def __init__(self, after: Schedule, num_steps: int):
        super().__init__()
        self._after = after
        self._num_steps = num_steps

    def __call__(self, step):
        """The rate of update `step`, counted from 0."""
        done = keras.ops.cast(step, 'float32') - self._num_steps
        rising = self._after(0.0) * (1 + (done + 1) / self._num_steps)
        return keras.ops.where(done < 0, rising, self._after(keras.ops.maximum(done, 0.0)))


def schedule(config: TrainingConfig, num_steps: int) -> Schedule:
    """The rate of each update of a run of `num_steps`.

    After a linear warm-up: `constant`; `cosine`, half a cosine down to 0 (Loshchilov and Hutter 2017); `exponential`,
    down to a hundredth.
    """
    schedules = keras.optimizers.schedules
    after_warmup = max(num_steps - config.warmup_steps, 1)
    if config.schedule == 'cosine':
        after = schedules.CosineDecay(config.learning_rate, after_warmup)
    else:
        last = _LAST_OF_EXPONENTIAL if config.schedule == 'exponential' else 1.0
        after = schedules.ExponentialDecay(config.learning_rate, after_warmup, last)
    return Warmup(after, config.warmup_steps) if config.warmup_steps else after


def optimizer(config: TrainingConfig, num_steps: int) -> keras.Optimizer:
    """The optimizer of a run of `num_steps` updates."""
    rate = schedule(config, num_steps)
    if config.optimizer == 'sgd':
        return keras.optimizers.SGD(rate, momentum=config.momentum)
    if config.optimizer == 'rmsprop':
        return keras.optimizers.RMSprop(rate, momentum=config.momentum)
    if config.optimizer == 'adamw':
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    return keras.optimizers.Adam(rate)
