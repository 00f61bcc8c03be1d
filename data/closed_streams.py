"""Opens os.devnull in place of stdout and stderr if they are closed, as by `2>&-`.

Otherwise a file that is opened later becomes descriptor 2, where TensorFlow writes notices, and what is printed to a
stderr that is None is written to stdout.
"""

import os
import pathlib
import sys


def _devnull(number: int):
    """Returns a stream to os.devnull; descriptor `number` is it, too, if it is not open."""
    stream = pathlib.Path(os.devnull).open('w')  # noqa: SIM115 - open until the program ends
    try:
        os.fstat(number)
    except OSError:
        os.dup2(stream.fileno(), number)
    return stream


sys.stdout = sys.stdout or _devnull(1)
sys.stderr = sys.stderr or _devnull(2)
