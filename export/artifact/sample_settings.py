"""The settings of the signature `sample`, which are fixed when a model is exported."""

import dataclasses

from data.settings import check_fields, setting


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
