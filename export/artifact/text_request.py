"""One text that is asked for and one that comes back, however the model is reached. Needs no TensorFlow."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class TextRequest:
    """A row of the signature `generate`; the fields are its inputs."""

    prefix: str
    length: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


class GeneratedText(NamedTuple):
    """A row of what the signature `generate` answers."""

    text: str
    """The prefix and what was added."""
    log_likelihood: float
    """The sum of ln p of the added characters, nats."""


def numbered(prefixes: Sequence[str], num_samples: int, seed: int, **knobs) -> list[TextRequest]:
    """`num_samples` requests for each prefix, those of one prefix together; request n of all draws with `seed + n`."""
    rows = [prefix for prefix in prefixes for _ in range(num_samples)]
    return [TextRequest(prefix, seed=seed + n, **knobs) for n, prefix in enumerate(rows)]


def batches(requests: Sequence[TextRequest], size: int = BATCH_SIZE) -> Iterator[list[TextRequest]]:
    """The requests in order, at most `size` together."""
    for start in range(0, len(requests), size):
        yield list(requests[start : start + size])
