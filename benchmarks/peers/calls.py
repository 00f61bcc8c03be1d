"""How long a call takes. It needs the standard library only, for peers in an environment of their own."""

import statistics
import time
from collections.abc import Callable

_FEWEST = 3
_SECONDS = 1.0


def median_seconds(call: Callable[[], object]) -> float:
    """Calls once, and then for a second, but 3 times or more; returns the median seconds of these."""
    call()
    seconds: list[float] = []
    while len(seconds) < _FEWEST or sum(seconds) < _SECONDS:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
