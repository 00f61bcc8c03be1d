"""The progress of long work: a bar on a terminal, a line per minute in a log."""

import sys
import time
from collections.abc import Callable

_SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Shows how much of some work is done."""

    def __init__(self, what: str, total: int, *, shown_from: int = 0, clock: Callable[[], float] = time.monotonic):
        """`total` is in bytes, 0: unknown; no bar is drawn below `shown_from`. `clock` returns seconds."""
        self._what, self._total, self._clock = what, total, clock
        self._last_line = clock()
        self._bar, self._is_full = None, False
        if sys.stdout.isatty() and total >= shown_from:
            from keras.utils import Progbar  # imports TensorFlow, which takes seconds

            self._bar = Progbar(total or None, unit_name='byte')

    def update(self, done: int) -> None:
        """Shows that `done` bytes are done; the bar ends its line when it is full."""
        self._is_full = done == self._total
        if self._bar:
            self._bar.update(done, finalize=self._is_full)
        elif self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            of = f' of {self._total:,}' if self._total else ''
            print(f'{self._what}: {done:,}{of} bytes', flush=True)
            self._last_line = self._clock()

    def close(self) -> None:
        """Ends the line of a bar that is not full."""
        if self._bar and not self._is_full:
            print()
