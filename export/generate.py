"""Turns prefixes into text with an exported model, and nothing of the program that trained it.

Examples:

  python -m export.generate --prefix=分开
  python -m export.generate --prefix=分开,不分开 --length=100 --temperature=0.8 --top_p=0.95 --seed=7
"""

import pathlib

import tensorflow as tf
from absl import flags

from data.errors import InputError
from export import assertions
from export.versions import newest_version
from pipeline import program

_FLAGS = flags.FLAGS


def generate(
    model_dir: pathlib.Path,
    prefixes: list[str],
    length: int,
    *,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """The texts that the newest version under `model_dir` makes of `prefixes`; row n draws with `seed + n`.

    Raises:
      InputError: there is no model, or it refuses a value.
    """
    version_dir = newest_version(model_dir)
    try:
        loaded = tf.saved_model.load(str(version_dir))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f'{version_dir} cannot be loaded: {str(error).splitlines()[0]}') from error
    if 'generate' not in loaded.signatures:
        raise InputError(f'{version_dir} has no signature "generate": it is not a model of this project.')
    rows = len(prefixes)
    try:
        answer = loaded.signatures['generate'](
            prefix=tf.constant(prefixes, tf.string),
            length=tf.fill([rows], length),
            temperature=tf.fill([rows], temperature),
            top_k=tf.fill([rows], top_k),
            top_p=tf.fill([rows], top_p),
            seed=seed + tf.range(rows, dtype=tf.int64),
        )
    except tf.errors.InvalidArgumentError as error:
        raise InputError(assertions.sentence(str(error))) from error
    return [text.decode() for text in answer['text'].numpy()]


def main() -> None:
    texts = generate(
        pathlib.Path(_FLAGS.model_dir),
        _FLAGS.prefix or [''],
        _FLAGS.length,
        temperature=_FLAGS.temperature,
        top_k=_FLAGS.top_k,
        top_p=_FLAGS.top_p,
        seed=_FLAGS.seed,
    )
    print('\n'.join(texts))


if __name__ == '__main__':
    flags.DEFINE_string('model_dir', 'models/charrnn', 'A folder of versions (the newest is taken), or one version.')
    flags.DEFINE_list('prefix', None, 'What the texts begin with, separated by commas.', required=True)
    flags.DEFINE_integer('length', 50, 'Characters to add.', upper_bound=2**31 - 1)
    flags.DEFINE_float('temperature', 0.0, "0: always the most likely character. 1: by the model's probabilities.")
    flags.DEFINE_integer('top_k', 0, 'Draw only among the k most likely characters; 0: off.', upper_bound=2**31 - 1)
    flags.DEFINE_float('top_p', 1.0, 'Draw only among the likely characters that together reach p; 1: off.')
    flags.DEFINE_integer('seed', 0, 'Fixes what is drawn.', lower_bound=0, upper_bound=2**62)
    program.run(main)
