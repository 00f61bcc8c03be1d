"""The progress of long work: a bar on a terminal, a line per minute in a log."""

import sys
import time
from collections.abc import Callable

_SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Shows how much of some work is done."""

    def __init__(self, what: str, total: int, unit: str = 'byte', clock: Callable[[], float] = time.monotonic):
        """`total` is in units, 0: unknown. `clock` returns seconds."""
        self._what, self._total, self._unit, self._clock = what, total, unit, clock
        self._last_line = clock()
        self._bar, self._is_full = None, False
        if sys.stdout.isatty():
            from keras.utils import Progbar  # imports TensorFlow, which takes seconds

            self._bar = Progbar(total or None, unit_name=unit)

    def update(self, done: int) -> None:
        """Shows that `done` units are done; the bar ends its line when it is full."""
        self._is_full = done == self._total
        if self._bar:
            self._bar.update(done, finalize=self._is_full)
        elif self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            of = f' of {self._total:,}' if self._total else ''
            print(f'{self._what}: {done:,}{of} {self._unit}s', flush=True)
            self._last_line = self._clock()

    def end(self) -> None:
        """Ends the line of a bar that is not full."""
        if self._bar and not self._is_full:
            print()
