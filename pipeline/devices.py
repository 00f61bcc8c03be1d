"""Which device computes, and with how many threads: TensorFlow places everything, this says where."""

import tensorflow as tf


def prepare() -> str:
    """Lets GPU memory grow as needed instead of taking all of it; returns the device's name for people."""
    gpus = tf.config.list_physical_devices('GPU')
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return 'CPU'
    return f'GPU ({tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)})'


def one_thread_an_operation() -> None:
    """For what generates on the CPU: sharing one character's little work between threads costs more than it saves.

    Of requests at the same time each still has a thread. TensorFlow takes this only before it computes anything.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
