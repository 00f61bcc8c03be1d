"""Text -> ids -> windows. Imports nothing else of the project."""

from data import closed_streams, tensorflow_import  # noqa: F401 - every program imports this package before TensorFlow
