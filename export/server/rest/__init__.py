"""The REST API, the stream of characters and the studio."""
