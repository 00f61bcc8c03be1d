"""The settings of the signature `sample`, which are fixed when a model is exported."""

import dataclasses

from data.errors import InputError
from data.vocabulary import Vocabulary
from pipeline.limits import Limits
from pipeline.settings import check_fields, setting


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """What `sample` generates after a prefix."""

    sample_length: int = setting(200, 'Most characters that the signature "sample" adds.', lowest=0)
    sample_temperature: float = setting(0.8, 'Its temperature. 0: the most likely character each time.', lowest=0.0)
    sample_top_k: int = setting(0, 'It draws only from the k most likely characters. 0: off.', lowest=0)
    sample_top_p: float = setting(
        0.95,
        'It draws only from the most likely characters whose probabilities sum to p. 1: off.',
        lowest=1e-6,
        highest=1.0,
    )
    sample_stop: str = setting('', 'It ends after this string. Empty: after --sample_length.')

    def __post_init__(self):
        check_fields(self)

    def check(self, limits: Limits, vocabulary: Vocabulary) -> None:
        """Raises `InputError` for settings that the model would refuse."""
        if self.sample_length > limits.max_length:
            raise InputError(
                f'sample_length={self.sample_length} is above max_length={limits.max_length}, the limit of a request: '
                f'lower --sample_length or raise --max_length.'
            )
        if len(self.sample_stop) > limits.max_length:
            raise InputError(
                f'sample_stop has {len(self.sample_stop)} characters, above max_length={limits.max_length}: give a '
                f'shorter --sample_stop.'
            )
        ids = vocabulary.encode(self.sample_stop, 'sample_stop')
        if vocabulary.unknown_id in ids:
            raise InputError(
                f'sample_stop={self.sample_stop!r} contains a character that the model cannot generate: give another '
                f'--sample_stop.'
            )
