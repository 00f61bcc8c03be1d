"""Limits on what a request may ask of an exported model."""

import dataclasses

from data.errors import InputError

_LARGEST = 1_000_000  # characters; keeps sums of limits within an int32


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest row that a request may have, in characters, so that every request ends."""

    max_length: int = 1000
    """Characters to generate."""
    max_prefix: int = 1000
    """Characters of a prefix."""

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not 1 <= value <= _LARGEST:
                raise InputError(f'{name}={value} must be between 1 and {_LARGEST}.')

    @property
    def max_text(self) -> int:
        """Characters of a text to score: every generated text can be scored."""
        return self.max_prefix + self.max_length
