"""Ctrl-C, SIGTERM and SIGHUP as requests to stop cleanly."""

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any


class Stopped(Exception):  # noqa: N818 - it reports a request, not an error
    """A stop was requested."""


class StopRequest:
    """A context in which the first SIGINT, SIGTERM or SIGHUP is only recorded; a second one has its usual effect.

    A signal that the process ignores, as under `nohup`, stays ignored. Outside the main thread no signal is recorded.
    """

    def __init__(self, notice: str = ''):
        """`notice` is printed to stderr when the signal arrives."""
        self.signal: signal.Signals | None = None
        self._notice = notice
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells report it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP; 0: no signal."""
        return 128 + self.signal if self.signal else 0

    def check(self) -> None:
        """Raises `Stopped` if a signal arrived. Long work calls this between its compiled calls."""
        if self.signal:
            raise Stopped

    def __enter__(self) -> 'StopRequest':
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()
        if self._notice:
            with contextlib.suppress(OSError):  # stderr may be closed; print() could interrupt another print()
                os.write(2, f'\n{self.signal.name}: {self._notice}\n'.encode())

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
