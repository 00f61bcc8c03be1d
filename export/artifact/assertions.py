"""Messages of assertions in an exported graph, without the text that TensorFlow adds."""

import re

_ESCAPES = {'n': '\n', 'r': '\r', 't': '\t'}


def sentence(message: str) -> str:
    """Returns the assertion's sentence in the `message` of a TensorFlow error; without an assertion, all of it."""
    found = re.search(r'assertion failed: \[(.*)\]', message)
    return re.sub(r'\\([0-7]{3}|.)', _unescaped, found[1]) if found else message


def _unescaped(escape: re.Match) -> str:
    code = escape[1]
    return chr(int(code, 8)) if len(code) == 3 else _ESCAPES.get(code, code)
