"""Text -> ids -> windows. Imports nothing else of the project.

Every program imports this package first: whatever imports TensorFlow after it does so without the start-up notices, and
what needs no TensorFlow does not wait for it. Set TF_CPP_MIN_LOG_LEVEL (0 shows everything) to see the notices.
"""

import importlib.abc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as ever, but has it executed with its notices held back."""

    def find_spec(self, name, path=None, target=None):
        """What the import system asks of each of its finders; None: let the others find it."""
        if name != 'tensorflow' or 'TF_CPP_MIN_LOG_LEVEL' in os.environ:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec('tensorflow')
        if spec is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _quietly(lambda: _start(execute, module))
        return spec


def _start(execute: Callable, tensorflow) -> None:
    execute(tensorflow)
    tensorflow.config.list_physical_devices()  # says what it thinks of the GPU, or that there is none


def _quietly(action: Callable[[], None]) -> None:
    """The notices come from C++, some before TF_CPP_MIN_LOG_LEVEL is heeded: hold back the file descriptor itself."""
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            action()
        except KeyboardInterrupt:
            sys.excepthook = _interrupted
            raise
        except BaseException:
            held_back.seek(0)
            os.write(shown, held_back.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
            del os.environ['TF_CPP_MIN_LOG_LEVEL']  # read by now; a child process holds back its own


def _interrupted(*error) -> None:
    """Instead of a traceback through all of TensorFlow, for a program; whoever goes on after this has one again."""
    sys.excepthook = sys.__excepthook__
    print('interrupted', file=sys.stderr)


sys.meta_path.insert(0, _QuietTensorFlow())
