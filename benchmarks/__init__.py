"""Benchmarks, which compare programs that take turns on one machine, and tests of the server under load."""
