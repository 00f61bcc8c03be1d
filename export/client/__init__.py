"""Texts from an exported model, local or behind a server."""
