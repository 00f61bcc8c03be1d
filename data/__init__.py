"""Text -> ids -> windows. Imports nothing else of the project.

Every program imports this package first, so TensorFlow is first imported here, without its start-up notices. Set
TF_CPP_MIN_LOG_LEVEL (0 shows everything) to see them.
"""

import os
import sys
import tempfile


def _import_tensorflow_quietly() -> None:
    """The notices come from C++, some before TF_CPP_MIN_LOG_LEVEL is heeded: hold back the file descriptor itself."""
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()  # says what it thinks of the GPU, or that there is none
        except BaseException:
            held_back.seek(0)
            os.write(shown, held_back.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
            del os.environ['TF_CPP_MIN_LOG_LEVEL']  # read by now; a child process holds back its own


if 'TF_CPP_MIN_LOG_LEVEL' not in os.environ:
    _import_tensorflow_quietly()
