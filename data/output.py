"""A stdout whose failed writes are not taken for errors of other files."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any, TextIO


class OutputError(Exception):
    """Stdout cannot be written. It is not an OSError, which would look like an error of what is read or written."""

    def __init__(self, error: OSError):
        super().__init__(f'stdout cannot be written: {error.strerror}.')
        self.is_closed = error.errno in (errno.EPIPE, errno.EIO)
        """Whether its reader has gone, as `head` does, or its terminal was closed."""


class Output:
    """A text stream whose failed writes are an `OutputError`."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with _output_errors():
            return self._stream.write(text)

    def flush(self) -> None:
        with _output_errors():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(error) from error
