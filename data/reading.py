"""The settings of reading a text."""

import dataclasses

from data import encodings
from data.known_corpora import NAMES
from data.settings import check_fields, setting

NEWLINES = ('space', 'keep')


@dataclasses.dataclass(frozen=True)
class ReadingConfig:
    """A text, and how to read it."""

    corpus: str = setting(
        'lyrics',
        f'Text to train on: {", ".join(NAMES)}, a text file, a folder, a glob in quotes, a .zip or .gz file, a URL, or '
        'a folder that data.encode wrote.',
    )
    encoding: str = setting('utf-8', 'Encoding of the text, such as utf-8, gb18030 or utf-16.')
    encoding_errors: str = setting(
        'strict',
        'strict: bytes that are invalid in the encoding are an error. replace: each invalid place is read as U+FFFD.',
        choices=encodings.ERRORS,
    )
    newlines: str = setting(
        'space',
        'space: each \\n and \\r becomes one space (so \\r\\n becomes two), as in the book. keep: the model learns '
        'line breaks.',
        choices=NEWLINES,
    )
    max_characters: int = setting(0, 'Use only this many characters from the start of --corpus. 0: all.', lowest=0)

    def __post_init__(self):
        check_fields(self)
