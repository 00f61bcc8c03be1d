"""Tests of export/server/models/."""
