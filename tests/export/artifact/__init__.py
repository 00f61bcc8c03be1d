"""Tests of export/artifact/, and what they share: TensorFlow's C API and sample requests."""
