"""Text -> ids -> windows. Imports nothing else of the project."""

from data import tensorflow_import  # noqa: F401 - every program imports this package before TensorFlow
