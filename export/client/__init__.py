"""Texts from an exported model, loaded into this process or behind a server."""
