"""Ctrl-C and SIGTERM as a request: finish what is in flight, save, leave."""

import signal
from types import FrameType


class StopRequest:
    """While entered, SIGINT and SIGTERM are noted instead of acted on; a second one acts as it always does."""

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._previous = {}

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended: 130 for Ctrl-C, 143 for SIGTERM; 0 without one."""
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
