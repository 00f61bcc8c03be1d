"""Text -> ids -> windows. Imports nothing else of the project."""

from data import quiet_tensorflow  # noqa: F401 - every program imports this package before TensorFlow
