"""A stdout that reports every failed write in the same way, whatever it is."""

import contextlib
from collections.abc import Iterator
from typing import Any, TextIO


class Output:
    """A text stream whose failed writes are a `BrokenPipeError`, of the same number.

    Otherwise a full disk or a terminal that was closed would look like an error of what is being read or written.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with _broken_pipe():
            return self._stream.write(text)

    def flush(self) -> None:
        with _broken_pipe():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _broken_pipe() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BrokenPipeError(error.errno, error.strerror) from error
