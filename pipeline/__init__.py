"""Windows -> trained model. Imports `data`, never `export`."""

import data  # noqa: F401 - before TensorFlow: keeps its start-up notices off the screen
