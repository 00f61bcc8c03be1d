"""Limits on the requests to an exported model."""

import dataclasses

from data.settings import check_fields, setting

_LARGEST = 1_000_000  # characters; keeps sums of limits within an int32


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest row that a request may have, in characters, so that every request ends."""

    max_length: int = setting(1000, 'Most characters that a request may add to a row.', lowest=1, highest=_LARGEST)
    max_prefix: int = setting(1000, 'Longest prefix of a request, in characters.', lowest=1, highest=_LARGEST)

    def __post_init__(self):
        check_fields(self)

    @property
    def max_text(self) -> int:
        """Characters of a text to score: every generated text can be scored."""
        return self.max_prefix + self.max_length
