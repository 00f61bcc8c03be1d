"""The device that TensorFlow computes on, and its threads."""

import tensorflow as tf


def prepare() -> str:
    """Makes TensorFlow allocate GPU memory as needed instead of all at once; returns the name of the device."""
    gpus = tf.config.list_physical_devices('GPU')
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return 'CPU'
    return f'GPU ({tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)})'


def set_threads_per_operation(number: int = 1) -> None:
    """Runs each operation on `number` threads (0: one per core), before TensorFlow computes anything.

    1: to split the work of one character between threads costs more than it saves. Concurrent requests still run on
    threads of their own.
    """
    tf.config.threading.set_intra_op_parallelism_threads(number)
