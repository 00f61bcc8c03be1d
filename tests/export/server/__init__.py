"""Tests of export/server/, on real loopback ports."""
