"""A run, from its settings to its last checkpoint."""

import contextlib
import dataclasses
import datetime
import functools
import pathlib
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.split import split
from data.vocabulary import Vocabulary
from data.windows import Windows
from pipeline import command_line, devices, evaluation, run_directory
from pipeline.checkpoints import BestCheckpoint, Checkpoints
from pipeline.config import Config, DataConfig, TrainingConfig, parse_interval, parse_steps
from pipeline.generate import Generator
from pipeline.interrupts import StopRequest
from pipeline.model import CharRNN
from pipeline.monitor import Monitor
from pipeline.profiler import Profiler
from pipeline.trainer import Progress, Trainer

_LONGEST_FIRST_WORD = 10  # characters; some scripts do not separate words


@dataclasses.dataclass(frozen=True)
class Material:
    """The texts of a run: the part that it trains on and the held-out part."""

    num_characters: int
    """Of both parts."""
    sha256: str
    """Of both parts."""
    training_text: str
    vocabulary: Vocabulary
    ids: np.ndarray
    """`[N] int32`, the training part."""
    valid: evaluation.Reading | None


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Evaluation of a run on its held-out part."""

    loss: Callable[[], float]
    """Returns nats per character under the current weights."""
    best: BestCheckpoint


def run(config: Config, run_dir: pathlib.Path | None) -> int:
    """Starts or resumes the run in `run_dir`; returns the exit code.

    Args:
      config: the settings.
      run_dir: None: a new directory under runs/, made only after the settings are known to fit the corpus.

    Raises:
      InputError: the settings, the text or `run_dir` cannot be used together, or training cannot go on.
    """
    material = read_material(config.data)
    windows = Windows(
        len(material.training_text),
        config.data.batch_size,
        config.data.num_steps,
        config.data.sampling,
        config.training.seed,
        context=config.training.bptt_windows - 1,
    )
    if config.training.bptt_windows > windows.steps_per_epoch:
        raise InputError(
            f'bptt_windows={config.training.bptt_windows} is more than the {windows.steps_per_epoch} minibatches of an '
            f'epoch, at whose start the state is zero: give --bptt_windows of {windows.steps_per_epoch} or less.'
        )
    prefixes = usable_prefixes(config.training.prefixes, material.vocabulary, material.training_text)
    config = config.replace({'prefixes': prefixes})
    run_dir = run_dir or run_directory.new_run_dir(config, datetime.datetime.now())
    with run_directory.lock(run_dir):
        if run_directory.exists(run_dir):
            run_directory.check_same(run_dir, run_directory.read(run_dir), config, material.sha256)
        try:
            return _run_alone(config, run_dir, material, windows)
        except tf.errors.ResourceExhaustedError as error:
            what = re.search('tensor with shape[^ ]*', error.message)
            raise InputError(
                f'the memory does not suffice{f" for a {what[0]}" if what else ""}. Lower --hidden_size, --num_layers, '
                f'--batch_size, --num_steps or --bptt_windows.'
            ) from error


def read_material(data: DataConfig) -> Material:
    """Loads the corpus, splits off its held-out part and builds the vocabulary of the rest."""
    text = evaluation.load_corpus(data)
    training_text, valid_text = split(text, data.valid_fraction)
    vocabulary = Vocabulary.from_text(training_text, data.min_count)
    valid = evaluation.read(valid_text, vocabulary, 'the held-out part') if valid_text else None
    ids = vocabulary.encode(training_text)
    return Material(len(text), run_directory.text_sha256(text), training_text, vocabulary, ids, valid)


def _run_alone(config: Config, run_dir: pathlib.Path, material: Material, windows: Windows) -> int:
    """Runs in a `run_dir` that is locked and checked."""
    begun = run_directory.exists(run_dir)
    device = devices.prepare()
    model = CharRNN(config.model, len(material.vocabulary), config.training.seed)
    trainer = Trainer(model, windows, config.training)
    checkpoints = Checkpoints(run_dir, trainer, parse_interval(config.training.checkpoint_every))
    checkpoints.restore()
    epochs_done = trainer.step // windows.steps_per_epoch
    counts = np.bincount(material.ids, minlength=len(material.vocabulary)).tolist()
    longest = config.replace({'num_epochs': max(config.training.num_epochs, epochs_done)})
    recorded = run_directory.Recorded(longest, material.vocabulary, material.sha256, tuple(counts))
    run_directory.write(run_dir, recorded, material.num_characters)
    print(
        f'{config.data.corpus}: {material.num_characters:,} characters, {len(material.vocabulary):,} distinct; '
        f'{windows.steps_per_epoch:,} minibatches an epoch; {model.num_parameters:,} parameters on {device}; {run_dir}'
    )
    if material.valid:
        print(describe(material.valid, material.vocabulary))
    if begun and not trainer.step:
        print('nothing had been saved yet: begins again')
    if trainer.step:
        print(f'goes on after epoch {epochs_done} of {config.training.num_epochs}')
    if reason := _nothing_left(trainer):
        print(reason)
        return 0
    monitor = Monitor(run_dir, trainer.step, trainer.last_step, epochs_done, settings=config.to_dict())
    profiler = Profiler(run_dir, parse_steps(config.training.profile_steps))
    held_out = _held_out(material.valid, trainer, run_dir) if material.valid else None
    generator = Generator(model, material.vocabulary)
    with contextlib.closing(monitor), contextlib.closing(profiler), StopRequest() as stop:
        try:
            train(trainer, material.ids, generator, monitor, profiler, checkpoints, stop, held_out)
        except BrokenPipeError:  # stdout was closed (as by `head`): save, as on Ctrl-C
            _save(trainer, monitor, checkpoints)
            raise
    _say_what_next(run_dir, stop, profiler)
    return stop.exit_code


def _say_what_next(run_dir: pathlib.Path, stop: StopRequest, profiler: Profiler) -> None:
    if profiler.missing:
        print(profiler.missing)
    if stop.signal:
        print(f'{stop.signal.name}: saved. To go on: {command_line.command("pipeline.train", run_dir=run_dir)}')
    else:
        print(f'saved in {run_dir}. Next: {command_line.command("export.saved_model", run_dir=run_dir)}')


def train(
    trainer: Trainer,
    ids: np.ndarray,
    generator: Generator,
    monitor: Monitor,
    profiler: Profiler,
    checkpoints: Checkpoints,
    stop: StopRequest,
    held_out: HeldOut | None = None,
) -> None:
    """Trains, reports and saves until the last epoch, a stop request or early stopping."""
    config = trainer.config
    hinted = False
    for progress in trainer.train(ids, profiler.before_call):
        monitor.after_call(progress)
        profiler.after_call(progress.step)
        if progress.epoch_ended:
            due = progress.epoch == config.num_epochs or _is_multiple(progress.epoch, config.sample_every)
            valid_nats = None
            if held_out and _is_multiple(progress.epoch, config.evaluate_every):
                valid_nats = evaluate(trainer, held_out, progress)
            monitor.after_epoch(progress, due, valid_nats)
            if due and config.sample_every and config.prefixes:
                monitor.samples(progress.epoch, generator.texts(config.prefixes, config.sample_length))
            if not hinted and (hint := _hint(trainer, progress.loss)):
                monitor.say(hint)
                hinted = True
        if checkpoints.is_due(progress.step):
            _save(trainer, monitor, checkpoints)
        if trainer.early_stopping.is_due:
            monitor.say(_stopped_early(trainer))
            break
        if stop.signal:
            break
    _save(trainer, monitor, checkpoints)


def _save(trainer: Trainer, monitor: Monitor, checkpoints: Checkpoints) -> None:
    """Flushes the curves, then saves: a checkpoint ahead of the curves would leave a gap in them after a kill."""
    monitor.flush()
    checkpoints.save(trainer.step)


def evaluate(trainer: Trainer, held_out: HeldOut, progress: Progress) -> float:
    """Returns the held-out loss after an epoch, in nats per character; saves the weights if it is the lowest so far.

    Early stopping is updated after the save: a run that is killed in between repeats the epoch.
    """
    nats = held_out.loss()
    if trainer.early_stopping.improves(nats):
        held_out.best.save(progress.step, progress.epoch, nats, progress.loss)
    trainer.early_stopping.note(nats)
    return nats


def describe(valid: evaluation.Reading, vocabulary: Vocabulary) -> str:
    """Returns a line on the held-out part and on its characters that are not in the training part."""
    fate = 'left out (--min_count=2 would read them)' if vocabulary.unknown_id is None else 'read as U+FFFD'
    unknown = f'{valid.unknown_rate:.2%} of them unknown' + (f', {fate}' if valid.num_unknown else '')
    return f'held out: the last {valid.num_characters:,} characters, {unknown}'


def usable_prefixes(prefixes: tuple[str, ...], vocabulary: Vocabulary, text: str) -> tuple[str, ...]:
    """Returns the prefixes, or the first word of `text` if the default prefixes contain characters that it lacks.

    Raises:
      InputError: a prefix of the user contains a character outside the vocabulary, which has no unknown character.
    """
    if prefixes == TrainingConfig.prefixes and not all(vocabulary.knows(prefix) for prefix in prefixes):
        first_word = (text.split() or [text])[0]
        return (first_word[:_LONGEST_FIRST_WORD],)
    for prefix in prefixes:
        vocabulary.encode(prefix, f'prefix {prefix!r}')
    return prefixes


def _held_out(valid: evaluation.Reading, trainer: Trainer, run_dir: pathlib.Path) -> HeldOut:
    scorer = evaluation.Scorer(trainer.model, jit=trainer.config.jit)
    return HeldOut(functools.partial(scorer.nats, valid.ids), BestCheckpoint(run_dir, trainer.model))


def _nothing_left(trainer: Trainer) -> str | None:
    """Returns why nothing is left to train and how to continue; None if something is left."""
    if trainer.step >= trainer.last_step:
        return 'nothing left to train; give a larger --num_epochs to train on'
    if trainer.early_stopping.is_due:
        return f'{_stopped_early(trainer)}; give a larger --early_stopping_patience (0: off) to train on'
    return None


def _hint(trainer: Trainer, nats: float) -> str | None:
    """Returns advice if an epoch without clipping had a loss, `nats` per character, above ln V; else None."""
    size = trainer.model.vocabulary_size
    if trainer.config.clip_norm or nats <= evaluation.uniform_nats(size):
        return None
    return (
        f'this epoch was worse than guessing among all {size:,} characters: without clipping the steps are too large. '
        f'What to try: --clip_norm=0.01, or a --learning_rate below {trainer.config.learning_rate:g}'
    )


def _stopped_early(trainer: Trainer) -> str:
    stopping = trainer.early_stopping
    best = (
        f'the best valid perplexity, {evaluation.perplexity(stopping.best):.2f}, '
        f'is {stopping.since_best} evaluations old'
    )
    return f'stopped early: {best}'


def _is_multiple(number: int, of: int) -> bool:
    return of > 0 and number % of == 0
