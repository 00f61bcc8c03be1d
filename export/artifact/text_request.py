"""A request for one text and its answer, for local and remote models. Imports no TensorFlow."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from data.errors import InputError

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class SampleRequest:
    """A row of the inputs of the signature `sample`."""

    signature: ClassVar[str] = 'sample'
    prefix: str
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class TextRequest:
    """A row of the inputs of the signature `generate`."""

    signature: ClassVar[str] = 'generate'
    prefix: str
    length: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    stop: str = ''
    seed: int = 0


Request = SampleRequest | TextRequest


class GeneratedText(NamedTuple):
    """A row of the outputs of the signatures `sample` and `generate`."""

    text: str
    """The prefix and the added characters."""
    log_likelihood: float
    """Sum of ln p of the added characters, nats."""


def sample_requests(prefixes: Sequence[str], num_samples: int, seed: int, **knobs) -> list[Request]:
    """Returns `num_samples` consecutive requests per prefix; request n of all has the seed `seed + n`.

    `knobs` are other inputs of `generate`; without them, the requests are for the signature `sample`.

    Raises:
      InputError: greedy samples of a prefix would all be the same.
    """
    if num_samples > 1 and knobs and not knobs.get('temperature'):
        raise InputError(
            f'num_samples={num_samples} with temperature=0 would generate the same text each time: set --temperature '
            f"above 0 (1: the model's probabilities)."
        )
    rows = [prefix for prefix in prefixes for _ in range(num_samples)]
    if not knobs:
        return [SampleRequest(prefix, seed + n) for n, prefix in enumerate(rows)]
    return [TextRequest(prefix, seed=seed + n, **knobs) for n, prefix in enumerate(rows)]


def batches(requests: Sequence[Request], size: int = BATCH_SIZE) -> Iterator[list[Request]]:
    """Yields the requests in order, at most `size` at a time."""
    for start in range(0, len(requests), size):
        yield list(requests[start : start + size])
