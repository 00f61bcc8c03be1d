"""Which device trains: TensorFlow places everything, this says where."""

import tensorflow as tf


def prepare() -> str:
    """Lets GPU memory grow as needed instead of taking all of it; returns the device's name for people."""
    gpus = tf.config.list_physical_devices('GPU')
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return 'CPU'
    return f'GPU ({tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)})'
