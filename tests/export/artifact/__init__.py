"""Tests of export/artifact/, with TensorFlow's C API and sample requests."""
