"""Trained model -> artifact -> text. Imports `pipeline` and `data`."""

import data  # noqa: F401 - before TensorFlow: keeps its start-up notices off the screen
