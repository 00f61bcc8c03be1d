"""Trains a character-level recurrent language model on any text.

With no flag at all it is the experiment of section 6.4 of Dive into Deep Learning (Chinese edition, v1) on the bundled
lyrics. Examples:

  python -m pipeline.train
  python -m pipeline.train --corpus=my_novel.txt --newlines=keep --prefixes="Once upon,It was"
  python -m pipeline.train --corpus="texts/**/*.txt" --sampling=consecutive --hidden_size=512
  python -m pipeline.train --cell=lstm --num_layers=2 --dropout=0.2
  python -m pipeline.train --flagfile=pipeline/presets/gru.flags    (an experiment of the book)
  python -m pipeline.train --valid_fraction=0.1 --min_count=2 --early_stopping_patience=20
  python -m pipeline.train --run_dir=runs/mine --num_epochs=500     (begins runs/mine, or goes on with it)

Ctrl-C saves and stops; the same command goes on. Watch with: tensorboard --logdir=runs
"""

import pathlib

from absl import flags

from data import corpus
from data.windows import SAMPLING
from pipeline import program, run_directory
from pipeline.config import (
    ACTIVATIONS,
    CELLS,
    OPTIMIZERS,
    SCHEDULES,
    Config,
    DataConfig,
    ModelConfig,
    TrainingConfig,
)
from pipeline.run import run

_FLAGS = flags.FLAGS

flags.DEFINE_string(
    'corpus',
    DataConfig.corpus,
    f'What to learn from: {", ".join(corpus.NAMES)}, a text file, a folder, a glob in quotes, a .zip or .gz, or a URL.',
)
flags.DEFINE_string('encoding', DataConfig.encoding, 'How the text is encoded, such as utf-8, gb18030 or utf-16.')
flags.DEFINE_enum(
    'newlines',
    DataConfig.newlines,
    corpus.NEWLINES,
    'space: line breaks become spaces, that of a DOS file two, as in the section. keep: the model learns them.',
)
flags.DEFINE_integer('max_characters', DataConfig.max_characters, 'Learn from so many characters of the start; 0: all.')
flags.DEFINE_float(
    'valid_fraction',
    DataConfig.valid_fraction,
    'The part of the text, from its end, that is held out: never trained on, only predicted, to see what the model '
    'makes of text that it does not know. 0: nothing.',
)
flags.DEFINE_integer(
    'min_count',
    DataConfig.min_count,
    'Characters that the training part has less often become one unknown character (U+FFFD), which new characters are '
    'read as too and which is never generated. 1: none, and new characters are left out of the held-out perplexity.',
)
flags.DEFINE_enum(
    'sampling',
    DataConfig.sampling,
    SAMPLING,
    'random: windows in a new order each epoch, from a zero state. consecutive: windows in the order of the text, each '
    'from the state that the one before left.',
)
flags.DEFINE_integer('batch_size', DataConfig.batch_size, 'B, windows a minibatch.')
flags.DEFINE_integer('num_steps', DataConfig.num_steps, 'T, characters a window: how far back gradients flow.')
flags.DEFINE_enum('cell', ModelConfig.cell, CELLS, 'The recurrence; gru resets before the product.')
flags.DEFINE_enum('activation', ModelConfig.activation, ACTIVATIONS, 'What bends the hidden state; rnn only.')
flags.DEFINE_integer('hidden_size', ModelConfig.hidden_size, 'H, hidden units of a layer.')
flags.DEFINE_integer('num_layers', ModelConfig.num_layers, 'L, recurrent layers, each reading the one below.')
flags.DEFINE_float('init_scale', ModelConfig.init_scale, 'Standard deviation of the first weights.')
flags.DEFINE_float('forget_bias', ModelConfig.forget_bias, 'First bias of the forget gate; lstm only.')
flags.DEFINE_float(
    'dropout', ModelConfig.dropout, 'Part of what each layer hands up, to the next or the output, that training drops.'
)
flags.DEFINE_integer('num_epochs', TrainingConfig.num_epochs, 'Passes over the text, all runs in run_dir together.')
flags.DEFINE_enum('optimizer', TrainingConfig.optimizer, OPTIMIZERS, 'How a gradient becomes an update.')
flags.DEFINE_float(
    'learning_rate',
    TrainingConfig.learning_rate,
    'First step size. 100 is for sgd clipped to 0.01; adam wants 0.003 or so.',
)
flags.DEFINE_float('momentum', TrainingConfig.momentum, 'Momentum of sgd or rmsprop.')
flags.DEFINE_float('weight_decay', TrainingConfig.weight_decay, 'Weight decay of adamw, such as 0.01.')
flags.DEFINE_enum(
    'schedule',
    TrainingConfig.schedule,
    SCHEDULES,
    'The learning rate over the run: constant; cosine, down to 0; exponential, down to a hundredth.',
)
flags.DEFINE_integer('warmup_steps', TrainingConfig.warmup_steps, 'Minibatches in which the rate rises from 0.')
flags.DEFINE_float('clip_norm', TrainingConfig.clip_norm, 'Largest L2 norm of all gradients together; 0: no clipping.')
flags.DEFINE_integer(
    'bptt_windows',
    TrainingConfig.bptt_windows,
    'Consecutive windows that the gradient flows back through; 1 detaches the state before each, as the section does.',
)
flags.DEFINE_integer('seed', TrainingConfig.seed, 'Fixes the first weights and the order of the windows.')
flags.DEFINE_bool('jit', TrainingConfig.jit, 'Compile with XLA: faster, the same numbers up to rounding.')
flags.DEFINE_string(
    'checkpoint_every',
    TrainingConfig.checkpoint_every,
    'How often to save: a number of steps, such as 500, or of seconds, such as 30s.',
)
flags.DEFINE_string(
    'profile_steps',
    TrainingConfig.profile_steps,
    'FIRST:LAST, steps, from 0, to profile for TensorBoard, with all of the same compiled call, at most 32 (pip '
    'install tensorboard-plugin-profile shows it).',
)
flags.DEFINE_integer(
    'evaluate_every', TrainingConfig.evaluate_every, 'Epochs between evaluations on the held-out part; 0: none.'
)
flags.DEFINE_integer(
    'early_stopping_patience',
    TrainingConfig.early_stopping_patience,
    'Stop after so many evaluations without a lower held-out perplexity; 0: never. The best is kept in any case.',
)
flags.DEFINE_integer('sample_every', TrainingConfig.sample_every, 'Epochs between samples of text; 0: none.')
flags.DEFINE_integer('sample_length', TrainingConfig.sample_length, 'Characters that a sample adds to its prefix.')
flags.DEFINE_list(
    'prefixes',
    list(TrainingConfig.prefixes),
    'What samples begin with, separated by commas; one with a comma in it stands in double quotes. A text that has not '
    "the default's characters is sampled from its first word.",
)
flags.DEFINE_string(
    'run_dir',
    None,
    'Where the run is kept. A directory that holds a run goes on with it, with its own settings for the flags that are '
    'not given. Default: a new one under runs/.',
)


def main() -> int:
    given = {name: _FLAGS[name].value for name in Config().to_dict() if _FLAGS[name].present}
    if not _FLAGS.run_dir:
        return run(Config.from_dict(given), None)
    run_dir = pathlib.Path(_FLAGS.run_dir)
    begun = run_directory.read(run_dir).config if run_directory.exists(run_dir) else Config()
    return run(begun.replace(given), run_dir)


if __name__ == '__main__':
    program.run(main)
