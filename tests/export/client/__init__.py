"""Tests of export/client/, and a stub of a server."""
