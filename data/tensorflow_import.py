"""Makes the import of TensorFlow quiet and faster: import this module before TensorFlow and Keras.

The start-up notices appear if the import fails. If TF_CPP_MIN_LOG_LEVEL is 0, TensorFlow is imported as usual. This
module only hooks into the import system, so a program that does not need TensorFlow does not import it. Keras is that
of TensorFlow, whatever the environment chooses for other programs.
"""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from types import ModuleType

_LEVEL = 'TF_CPP_MIN_LOG_LEVEL'


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as usual and gives it a loader that is quiet and faster."""

    def find_spec(self, name, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """Returns the spec of TensorFlow; None, for any other module, leaves it to the other finders."""
        if name != 'tensorflow' or os.environ.get(_LEVEL) == '0':
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec('tensorflow')
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _quietly(  # type: ignore[method-assign] # of this loader alone
                lambda: _start(execute, module)
            )
        return spec


def _start(execute: Callable[[ModuleType], None], tensorflow: ModuleType) -> None:
    with _without_garbage_collection():
        execute(tensorflow)
        tensorflow.config.list_physical_devices()  # prints notices about the GPU


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keeps Python from looking for garbage among what is imported, now and later: it takes a quarter of a start."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
    gc.freeze()


def _quietly(action: Callable[[], None]) -> None:
    """Runs `action` with stderr redirected, and prints what it wrote there if it fails.

    C++ code writes the notices, some before it reads TF_CPP_MIN_LOG_LEVEL, so the file descriptor is redirected.
    """
    is_users = _LEVEL in os.environ
    os.environ.setdefault(_LEVEL, '2')
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            action()
        except KeyboardInterrupt:
            sys.excepthook = _interrupted
            raise
        except BaseException:
            hidden.seek(0)
            os.write(shown, hidden.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
            if not is_users:
                del os.environ[_LEVEL]  # TensorFlow has read it; child processes set their own


def _interrupted(*error) -> None:
    """Prints one line instead of a traceback through TensorFlow, then restores the usual hook."""
    sys.excepthook = sys.__excepthook__
    print('interrupted', file=sys.stderr)


os.environ['KERAS_BACKEND'] = 'tensorflow'
os.environ.pop('TF_USE_LEGACY_KERAS', None)
sys.meta_path.insert(0, _Finder())
