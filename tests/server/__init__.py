"""The server, on real loopback ports."""

import data  # noqa: F401 - before TensorFlow: keeps its start-up notices off the screen
