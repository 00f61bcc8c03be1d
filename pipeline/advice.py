"""Advice for a run whose updates or initial weights are too large."""

from pipeline.config import ModelConfig, TrainingConfig

_LARGE_INIT_SCALE = 0.1


def against_divergence(model: ModelConfig, training: TrainingConfig, *, is_updated: bool = True) -> str:
    """Returns what to try; `is_updated`: whether the weights have been updated since they were initial."""
    if not is_updated:
        return f'an --init_scale below {model.init_scale:g}'
    advice = [] if training.clip_norm else ['--clip_norm=0.01']
    if model.init_scale > _LARGE_INIT_SCALE:
        advice.append('--init_scale=0.01')
    return ' or '.join([*advice, f'a --learning_rate below {training.learning_rate:g}'])
