"""Benchmarks, which compare programs that take turns on one machine, and tests of the server under load."""

import data  # noqa: F401 - before TensorFlow: keeps its start-up notices off the screen
