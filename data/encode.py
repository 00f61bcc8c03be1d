"""Encodes a text ahead of training, into a folder that is a corpus itself.

Training encodes a long text by itself, once, and keeps it in the data home (CHARRNN_DATA_HOME, or ~/.cache/charrnn).
This program does it elsewhere, such as on a machine with more disk, or for several machines. Examples:

  python -m data.encode --corpus="archive/*.gz" --newlines=keep --out=archive.encoded
  python -m pipeline.train --corpus=archive.encoded --newlines=keep

The folder holds one number per character, of one, two or four bytes, and the distinct characters. Memory does not
depend on the length of the text.
"""

import dataclasses
from typing import Any

import numpy as np
from absl import flags

from data import corpus, program
from data.command_line import command
from data.errors import InputError
from data.files import user_path
from data.flag_definitions import define_flags
from data.reading import ReadingConfig

_FLAGS = flags.FLAGS


def main() -> None:
    if not _FLAGS.out:
        raise InputError('--out names the new folder of the encoded text: give it.')
    out = user_path('out', _FLAGS.out)
    values: dict[str, Any] = {field.name: _FLAGS[field.name].value for field in dataclasses.fields(ReadingConfig)}
    reading = ReadingConfig(**values)
    text = corpus.encode(reading, out)
    size = np.dtype(text.header.dtype).itemsize
    each = f'{size} byte{"s" if size > 1 else ""}'
    print(f'{out}: {len(text):,} characters of {each} each, {len(text.header.characters):,} distinct')
    print(f'Next: {command("pipeline.train", corpus=out, newlines=reading.newlines)}')


if __name__ == '__main__':
    define_flags(ReadingConfig)
    flags.DEFINE_string('out', None, 'New folder to write.')
    program.run(main)
