"""What an assertion inside an exported graph says, without TensorFlow's words around it."""

import re


def sentence(message: str) -> str:
    """The assertion's own sentence in a TensorFlow error's `message`; the message itself where it is no assertion's."""
    found = re.search(r'assertion failed: \[(.*)\]', message, re.DOTALL)
    return re.sub(r'\\(.)', r'\1', found[1], flags=re.DOTALL) if found else message
