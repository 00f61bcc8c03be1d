"""Measurements: ratios of programs run in turn on one machine, never part of the tests."""
