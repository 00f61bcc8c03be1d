"""What an assertion inside an exported graph says, without TensorFlow's words around it."""

import re

_ESCAPES = {'n': '\n', 'r': '\r', 't': '\t'}


def sentence(message: str) -> str:
    """The assertion's own sentence in a TensorFlow error's `message`; the message itself where it is no assertion's."""
    found = re.search(r'assertion failed: \[(.*)\]', message)
    return re.sub(r'\\([0-7]{3}|.)', _unescaped, found[1]) if found else message


def _unescaped(escape: re.Match) -> str:
    code = escape[1]
    return chr(int(code, 8)) if len(code) == 3 else _ESCAPES.get(code, code)
