"""Loaded models: which versions are served, and what they answer."""
