"""Tests of export/server/rest/."""
