"""Ctrl-C and SIGTERM as requests to stop cleanly."""

import signal
from types import FrameType


class StopRequest:
    """A context in which the first SIGINT or SIGTERM is only recorded; a second one has its usual effect."""

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._previous = {}

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells report it: 130 for Ctrl-C, 143 for SIGTERM; 0 without a signal."""
        return 128 + self.signal if self.signal else 0

    def __enter__(self) -> 'StopRequest':
        self._previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
