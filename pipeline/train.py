"""Trains a character-level recurrent language model on any text.

With no flag at all it is the experiment of section 6.4 of Dive into Deep Learning (Chinese edition, v1) on the bundled
lyrics. Examples:

  python -m pipeline.train
  python -m pipeline.train --corpus=my_novel.txt --newlines=keep --prefixes="Once upon,It was"
  python -m pipeline.train --corpus="texts/**/*.txt" --sampling=consecutive --hidden_size=512
  python -m pipeline.train --cell=lstm --num_layers=2 --dropout=0.2
  python -m pipeline.train --flagfile=pipeline/presets/gru.flags    (an experiment of the book)
  python -m pipeline.train --run_dir=runs/mine --num_epochs=500     (begins runs/mine, or goes on with it)

Ctrl-C saves and stops; the same command goes on. Watch with: tensorboard --logdir=runs
"""

import contextlib
import datetime
import pathlib

import numpy as np
from absl import flags

from data import corpus
from data.errors import InputError
from data.vocabulary import Vocabulary
from data.windows import SAMPLING, Windows
from pipeline import devices, program, run_directory
from pipeline.checkpoints import Checkpoints
from pipeline.config import (
    ACTIVATIONS,
    CELLS,
    OPTIMIZERS,
    SCHEDULES,
    Config,
    DataConfig,
    ModelConfig,
    TrainingConfig,
    parse_interval,
)
from pipeline.generate import Generator
from pipeline.interrupts import StopRequest
from pipeline.model import CharRNN
from pipeline.monitor import Monitor
from pipeline.trainer import Trainer

_FLAGS = flags.FLAGS
_LONGEST_FIRST_WORD = 10  # characters; some scripts do not part words

flags.DEFINE_string(
    'corpus',
    DataConfig.corpus,
    f'What to learn from: {", ".join(corpus.NAMES)}, a text file, a folder, a glob in quotes, a .zip or .gz, or a URL.',
)
flags.DEFINE_string('encoding', DataConfig.encoding, 'How the text is encoded, such as utf-8, gb18030 or utf-16.')
flags.DEFINE_enum(
    'newlines', DataConfig.newlines, corpus.NEWLINES, 'space: line breaks become spaces. keep: the model learns them.'
)
flags.DEFINE_integer('max_characters', DataConfig.max_characters, 'Learn from so many characters of the start; 0: all.')
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
    'dropout', ModelConfig.dropout, 'Part of the values between layers that training drops; needs two layers or more.'
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
flags.DEFINE_integer('seed', TrainingConfig.seed, 'Fixes the first weights and the order of the windows.')
flags.DEFINE_bool('jit', TrainingConfig.jit, 'Compile with XLA: faster, the same numbers up to rounding.')
flags.DEFINE_string(
    'checkpoint_every',
    TrainingConfig.checkpoint_every,
    'How often to save: a number of steps, such as 500, or of seconds, such as 30s.',
)
flags.DEFINE_integer('sample_every', TrainingConfig.sample_every, 'Epochs between samples of text; 0: none.')
flags.DEFINE_integer('sample_length', TrainingConfig.sample_length, 'Characters that a sample adds to its prefix.')
flags.DEFINE_list('prefixes', list(TrainingConfig.prefixes), 'What samples begin with, separated by commas.')
flags.DEFINE_string(
    'run_dir',
    None,
    'Where the run is kept. A directory that holds a run goes on with it, with its own settings for the flags that are '
    'not given. Default: a new one under runs/.',
)


def main() -> int:
    given = {name: _FLAGS[name].value for name in Config().to_dict() if _FLAGS[name].present}
    if not _FLAGS.run_dir:
        config = Config.from_dict(given)
        return run(config, run_directory.new_run_dir(config, datetime.datetime.now()))
    run_dir = pathlib.Path(_FLAGS.run_dir)
    begun = run_directory.read(run_dir).config if run_directory.exists(run_dir) else Config()
    return run(begun.replace(given), run_dir)


def run(config: Config, run_dir: pathlib.Path) -> int:
    """Trains in `run_dir`, from the start or from where it stands; returns the exit code."""
    data = config.data
    text = corpus.load(data.corpus, encoding=data.encoding, newlines=data.newlines, max_characters=data.max_characters)
    vocabulary = Vocabulary.from_text(text)
    windows = Windows(len(text), data.batch_size, data.num_steps, data.sampling, config.training.seed)
    config = config.replace({'prefixes': usable_prefixes(config.training.prefixes, vocabulary, text)})
    if run_directory.exists(run_dir):
        run_directory.check_same(run_dir, run_directory.read(run_dir), config, text)
    with run_directory.lock(run_dir):
        return run_locked(config, run_dir, text, vocabulary, windows)


def run_locked(config: Config, run_dir: pathlib.Path, text: str, vocabulary: Vocabulary, windows: Windows) -> int:
    """The run itself, once it is known to fit `run_dir` and to be alone there; returns the exit code."""
    device = devices.prepare()
    trainer = Trainer(CharRNN(config.model, len(vocabulary), config.training.seed), windows, config.training)
    checkpoints = Checkpoints(run_dir, trainer, parse_interval(config.training.checkpoint_every))
    checkpoints.restore()
    run_directory.write(run_dir, config, vocabulary, text)
    print(
        f'{config.data.corpus}: {len(text):,} characters, {len(vocabulary):,} distinct; {windows.steps_per_epoch:,} '
        f'minibatches an epoch; {trainer.model.num_parameters:,} parameters on {device}; {run_dir}'
    )
    last_step = config.training.num_epochs * windows.steps_per_epoch
    if trainer.step:
        print(f'goes on after epoch {trainer.step // windows.steps_per_epoch} of {config.training.num_epochs}')
    if trainer.step >= last_step:
        print('nothing left to train; give a larger --num_epochs to train on')
        return 0
    monitor = Monitor(run_dir, trainer.step, last_step, trainer.step // windows.steps_per_epoch)
    with contextlib.closing(monitor), StopRequest() as stop:
        train(trainer, vocabulary.encode(text), Generator(trainer.model, vocabulary), monitor, checkpoints, stop)
    if stop.signal:
        print(f'{stop.signal.name}: saved. To go on: python -m pipeline.train --run_dir={run_dir}')
    else:
        print(f'saved in {run_dir}. Next: python -m export.saved_model --run_dir={run_dir}')
    return stop.exit_code


def train(
    trainer: Trainer,
    ids: np.ndarray,
    generator: Generator,
    monitor: Monitor,
    checkpoints: Checkpoints,
    stop: StopRequest,
) -> None:
    """Trains to the end or to a request to stop, shows what happens and saves."""
    config = trainer.config
    for progress in trainer.train(ids):
        monitor.after_call(progress)
        if progress.epoch_ended:
            due = progress.epoch == config.num_epochs or _is_multiple(progress.epoch, config.sample_every)
            monitor.after_epoch(progress, due)
            if due and config.sample_every and config.prefixes:
                monitor.samples(progress.epoch, generator.texts(config.prefixes, config.sample_length))
        if checkpoints.is_due(progress.step):
            _save(trainer, monitor, checkpoints)
        if stop.signal:
            break
    _save(trainer, monitor, checkpoints)


def _save(trainer: Trainer, monitor: Monitor, checkpoints: Checkpoints) -> None:
    """Curves first: a checkpoint must not be ahead of them, or a killed run would leave a gap."""
    monitor.flush()
    checkpoints.save(trainer.step)


def usable_prefixes(prefixes: tuple[str, ...], vocabulary: Vocabulary, text: str) -> tuple[str, ...]:
    """The prefixes; where they are the section's, and this text has not their characters, its first word instead.

    Raises:
      InputError: the user's own prefix has a character that the text has not.
    """
    try:
        for prefix in prefixes:
            vocabulary.encode(prefix, f'prefix {prefix!r}')
    except InputError:
        if prefixes != TrainingConfig.prefixes:
            raise
        return (text.split()[0][:_LONGEST_FIRST_WORD],)
    return prefixes


def _is_multiple(number: int, of: int) -> bool:
    return of > 0 and number % of == 0


if __name__ == '__main__':
    program.run(main)
