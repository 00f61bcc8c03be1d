"""Trains a character-level recurrent language model on any text.

With no flag at all it is the experiment of section 6.4 of Dive into Deep Learning (Chinese edition, v1) on the bundled
lyrics. Examples:

  python -m pipeline.train
  python -m pipeline.train --corpus=my_novel.txt --newlines=keep --prefixes="Once upon,It was"
  python -m pipeline.train --corpus="texts/**/*.txt" --sampling=consecutive --hidden_size=512
  python -m pipeline.train --valid_fraction=0.1 --min_count=2 --early_stopping_patience=20
  python -m pipeline.train --run_dir=runs/mine --num_epochs=500     (begins runs/mine, or goes on with it)

Ctrl-C saves and stops; the same command goes on. Watch with: tensorboard --logdir=runs
"""

import contextlib
import dataclasses
import datetime
import functools
import pathlib
from collections.abc import Callable

import numpy as np
from absl import flags

from data import corpus
from data.split import split
from data.vocabulary import Vocabulary
from data.windows import SAMPLING, Windows
from pipeline import devices, program, run_directory, scoring
from pipeline.checkpoints import BestCheckpoint, Checkpoints
from pipeline.config import ACTIVATIONS, Config, DataConfig, ModelConfig, TrainingConfig
from pipeline.generate import Generator
from pipeline.interrupts import StopRequest
from pipeline.model import CharRNN
from pipeline.monitor import Monitor
from pipeline.trainer import Progress, Trainer

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
flags.DEFINE_enum('activation', ModelConfig.activation, ACTIVATIONS, 'What bends the hidden state.')
flags.DEFINE_integer('hidden_size', ModelConfig.hidden_size, 'H, hidden units.')
flags.DEFINE_float('init_scale', ModelConfig.init_scale, 'Standard deviation of the first weights.')
flags.DEFINE_integer('num_epochs', TrainingConfig.num_epochs, 'Passes over the text, all runs in run_dir together.')
flags.DEFINE_float('learning_rate', TrainingConfig.learning_rate, 'Step size of SGD.')
flags.DEFINE_float('clip_norm', TrainingConfig.clip_norm, 'Largest L2 norm of all gradients together; 0: no clipping.')
flags.DEFINE_integer('seed', TrainingConfig.seed, 'Fixes the first weights and the order of the windows.')
flags.DEFINE_bool('jit', TrainingConfig.jit, 'Compile with XLA: faster, the same numbers up to rounding.')
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


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The held-out part of a run that evaluates on it."""

    loss: Callable[[], float]
    """Nats a character under the weights as they stand."""
    best: BestCheckpoint


def run(config: Config, run_dir: pathlib.Path) -> int:
    """Trains in `run_dir`, from the start or from where it stands; returns the exit code."""
    data = config.data
    text = corpus.load(data.corpus, encoding=data.encoding, newlines=data.newlines, max_characters=data.max_characters)
    training_text, valid_text = split(text, data.valid_fraction)
    vocabulary = Vocabulary.from_text(training_text, data.min_count)
    windows = Windows(len(training_text), data.batch_size, data.num_steps, data.sampling, config.training.seed)
    config = config.replace({'prefixes': usable_prefixes(config.training.prefixes, vocabulary, training_text)})
    valid = scoring.read(valid_text, vocabulary, 'the held-out part') if valid_text else None
    if run_directory.exists(run_dir):
        run_directory.check_same(run_dir, run_directory.read(run_dir), config, text)
    device = devices.prepare()
    trainer = Trainer(CharRNN(config.model, len(vocabulary), config.training.seed), windows, config.training)
    checkpoints = Checkpoints(run_dir, trainer)
    checkpoints.restore()
    run_directory.write(run_dir, config, vocabulary, text)
    print(
        f'{data.corpus}: {len(text):,} characters, {len(vocabulary):,} distinct; {windows.steps_per_epoch:,} '
        f'minibatches an epoch; {trainer.model.num_parameters:,} parameters on {device}; {run_dir}'
    )
    if valid:
        print(describe(valid, vocabulary))
    last_step = config.training.num_epochs * windows.steps_per_epoch
    if trainer.step:
        print(f'goes on after epoch {trainer.step // windows.steps_per_epoch} of {config.training.num_epochs}')
    if reason := _nothing_left(trainer, last_step):
        print(reason)
        return 0
    monitor = Monitor(run_dir, trainer.step, last_step)
    held_out = _held_out(valid, trainer, run_dir) if valid else None
    generator = Generator(trainer.model, vocabulary)
    with contextlib.closing(monitor), StopRequest() as stop:
        train(trainer, vocabulary.encode(training_text), generator, monitor, checkpoints, stop, held_out)
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
    held_out: HeldOut | None = None,
) -> None:
    """Trains to the end, to a request to stop or until it gets no better, shows what happens and saves."""
    config = trainer.config
    for progress in trainer.train(ids):
        monitor.after_call(progress)
        if progress.epoch_ended:
            due = progress.epoch == config.num_epochs or _is_multiple(progress.epoch, config.sample_every)
            evaluated = held_out and _is_multiple(progress.epoch, config.evaluate_every)
            monitor.after_epoch(progress, due, evaluate(trainer, held_out, progress) if evaluated else None)
            if due and config.sample_every and config.prefixes:
                monitor.samples(progress.epoch, generator.texts(config.prefixes, config.sample_length))
        checkpoints.save_if_due(progress.step)
        if trainer.early_stopping.is_due:
            monitor.say(_stopped_early(trainer))
            break
        if stop.signal:
            break
    checkpoints.save(trainer.step)


def evaluate(trainer: Trainer, held_out: HeldOut, progress: Progress) -> float:
    """The held-out loss after an epoch, nats a character; keeps the weights where it is the lowest so far.

    The trainer hears of it last, when they are kept: a run that is cut off in between does the epoch again.
    """
    nats = held_out.loss()
    if trainer.early_stopping.improves(nats):
        held_out.best.save(progress.step, progress.epoch, nats)
    trainer.early_stopping.note(nats)
    return nats


def describe(valid: scoring.Reading, vocabulary: Vocabulary) -> str:
    """A line on the held-out part, and on what becomes of the characters in it that the training part has not."""
    fate = 'left out (--min_count=2 would read them)' if vocabulary.unknown_id is None else 'read as U+FFFD'
    unknown = f'{valid.unknown_rate:.2%} of them unknown' + (f', {fate}' if valid.num_unknown else '')
    return f'held out: the last {valid.num_characters:,} characters, {unknown}'


def usable_prefixes(prefixes: tuple[str, ...], vocabulary: Vocabulary, text: str) -> tuple[str, ...]:
    """The prefixes; where they are the section's, and this text has not their characters, its first word instead.

    Raises:
      InputError: the user's own prefix has a character that the text has not, and that cannot be read as unknown.
    """
    if prefixes == TrainingConfig.prefixes and not all(vocabulary.knows(prefix) for prefix in prefixes):
        first_word = (text.split() or [text])[0]
        return (first_word[:_LONGEST_FIRST_WORD],)
    for prefix in prefixes:
        vocabulary.encode(prefix, f'prefix {prefix!r}')
    return prefixes


def _held_out(valid: scoring.Reading, trainer: Trainer, run_dir: pathlib.Path) -> HeldOut:
    scorer = scoring.Scorer(trainer.model, jit=trainer.config.jit)
    return HeldOut(functools.partial(scorer.nats, valid.ids), BestCheckpoint(run_dir, trainer.model))


def _nothing_left(trainer: Trainer, last_step: int) -> str | None:
    """Why there is nothing to train, and the way on, if that is so."""
    if trainer.step >= last_step:
        return 'nothing left to train; give a larger --num_epochs to train on'
    if trainer.early_stopping.is_due:
        return f'{_stopped_early(trainer)}; give a larger --early_stopping_patience (0: off) to train on'
    return None


def _stopped_early(trainer: Trainer) -> str:
    stopping = trainer.early_stopping
    best = (
        f'the best valid perplexity, {scoring.perplexity(stopping.best):.2f}, is {stopping.since_best} evaluations old'
    )
    return f'stopped early: {best}'


def _is_multiple(number: int, of: int) -> bool:
    return of > 0 and number % of == 0


if __name__ == '__main__':
    program.run(main)
