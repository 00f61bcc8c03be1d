"""A run, from its settings to its last checkpoint."""

import contextlib
import dataclasses
import datetime
import errno
import functools
import os
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import tensorflow as tf

from data import command_line
from data.errors import InputError
from data.ids import Ids
from data.output import OutputError
from data.vocabulary import UNKNOWN, Vocabulary
from data.windows import Windows
from pipeline import advice, run_directory, strategies, worker
from pipeline.checkpoints import BestCheckpoint, Checkpoints
from pipeline.config import Config, parse_steps
from pipeline.dataset import Dataset, EncodedText
from pipeline.init_from import transfer_weights
from pipeline.interrupts import Stopped, StopRequest
from pipeline.intervals import Due
from pipeline.monitor import Monitor
from pipeline.perplexity import perplexity, uniform_nats
from pipeline.profiler import Profiler
from pipeline.run_directory import LONGER, RunRecord
from pipeline.samples import Samples
from pipeline.scorer import Scorer
from pipeline.strategies import Strategy
from pipeline.trainer import Progress, Trainer, make_trainer

_GUESSING_MARGIN = 0.01  # nats; the first weights, before a step, are that close to guessing
_STOPPING = 'saves after the current minibatches and stops; a second signal stops at once, without saving'


ValidLoss = Callable[[Callable[[], None]], float]


class Ended(NamedTuple):
    """The end of `run`: where the run is, and the exit code of the program."""

    run_dir: pathlib.Path | None
    """None: this process is a worker that does not write."""
    exit_code: int


def run(config: Config, run_dir: pathlib.Path | None) -> Ended:
    """Starts or resumes the run in `run_dir`.

    Args:
      config: the settings.
      run_dir: None: a new directory under runs/, made only after the settings are known to fit the corpus.

    Raises:
      InputError: the settings, the text or `run_dir` cannot be used together, or training cannot continue.
    """
    dataset = Dataset.load(config.data)
    if run_dir:  # before the errors that another text explains
        _check_same(run_dir, config, dataset)
    windows = _windows(config, len(dataset.training))
    training = config.training
    log_every = training.log_every or training.default_log_every(windows.steps_per_epoch)
    config = config.replace({'prefixes': dataset.usable_prefixes(training.prefixes), 'log_every': log_every})
    strategy = strategies.resolved(training.strategy)
    if not strategy.is_chief:
        return Ended(None, _guarded(lambda: worker.follow(config, dataset, windows, strategy)))
    run_dir = run_dir or run_directory.new_run_dir(config, datetime.datetime.now())
    with run_directory.lock(run_dir):
        _check_same(run_dir, config, dataset)
        return Ended(run_dir, _guarded(lambda: _run_locked(config, run_dir, dataset, windows, strategy)))


def _guarded(train: Callable[[], int]) -> int:
    """Calls `train`; raises what TensorFlow says of a full memory or disk, or of a lost worker, as `InputError`."""
    try:
        return train()
    except tf.errors.OpError as error:
        if exhausted := _exhausted(error):
            raise exhausted from error
        if isinstance(error, tf.errors.UnavailableError) or 'Collective ops is aborted' in error.message:
            raise InputError(strategies.lost(error.message)) from error
        raise


def _check_same(run_dir: pathlib.Path, config: Config, dataset: Dataset) -> None:
    """Raises `InputError` if `run_dir` holds a run with other settings or another text."""
    if run_directory.exists(run_dir):
        run_directory.check_same(run_dir, run_directory.read(run_dir), config, dataset.sha256)


def _exhausted(error: tf.errors.OpError) -> InputError | None:
    """Returns a message that names the resource; None for another error.

    TensorFlow reports a full disk by the same error as a full memory, and that of a GPU also as an internal error.
    """
    of_gpu = isinstance(error, tf.errors.InternalError) and re.search('out.of.memory', error.message, re.IGNORECASE)
    if not of_gpu and not isinstance(error, tf.errors.ResourceExhaustedError):
        return None
    if any(os.strerror(number) in error.message for number in (errno.ENOSPC, errno.EDQUOT)):
        return InputError(f'the disk is full: {error.message.splitlines()[0]}. Make room there and resume.')
    what = re.search('tensor with shape[^ ]*', error.message)
    return InputError(
        f'the memory does not suffice{f" for a {what[0]}" if what else ""}. Lower --hidden_size, --num_layers, '
        f'--batch_size, --num_steps or --bptt_windows.'
    )


def _windows(config: Config, num_characters: int) -> Windows:
    windows = Windows(
        num_characters,
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
    return windows


def _run_locked(config: Config, run_dir: pathlib.Path, dataset: Dataset, windows: Windows, strategy: Strategy) -> int:
    """Starts or resumes the run in a `run_dir` that is locked and checked; returns the exit code."""
    begun = run_directory.exists(run_dir)
    device, replicas = strategies.start(strategy, config, dataset.sha256)
    trainer = make_trainer(config, len(dataset.vocabulary), windows, replicas)
    save_every = config.training.interval('checkpoint_every').without_epochs(windows.steps_per_epoch)
    checkpoints = Checkpoints(run_dir, trainer, save_every)
    restored = checkpoints.restore()
    epochs_done = trainer.num_epochs_done
    init_from = None if restored else config.training.init_from
    source = transfer_weights(init_from, trainer.model, dataset.vocabulary) if init_from else None
    print(f'{_describe(config.data.corpus, dataset, trainer)} on {device}; {run_dir}')
    for line in [*_notes(dataset), *_warm_up_note(trainer)]:
        print(line)
    if begun and not restored:
        print('the run has no checkpoint yet: starts from the beginning')
    if source:
        print(source)
    reason = nothing_left(trainer)
    if trainer.begins_together(ends=bool(reason)):
        print(reason)
        return 0
    longest = config.replace({'num_epochs': max(config.training.num_epochs, epochs_done)})
    record = RunRecord(longest, dataset.vocabulary, dataset.sha256, dataset.counts)
    run_directory.write(run_dir, record, len(dataset.source.text), datetime.datetime.now(datetime.UTC))
    if trainer.step:
        print(_where_it_resumes(trainer))
    trainer.know_reported_step()
    profiler = Profiler(run_dir, parse_steps(config.training.profile_steps), trainer.step)
    monitor, valid_loss = _monitor(run_dir, trainer, config, dataset), _valid_loss(dataset, trainer)
    best, samples = (
        BestCheckpoint(run_dir, trainer.evaluated_model),
        Samples(trainer.evaluated_model, dataset.vocabulary),
    )
    watch = strategies.watch(strategy, config.training.worker_timeout)
    with contextlib.closing(monitor), contextlib.closing(profiler), StopRequest(_STOPPING) as stop, watch:
        Run(trainer, dataset.ids, checkpoints, best, monitor, profiler, stop, samples, valid_loss).train()
    signal = stop.signal.name if stop.signal else 'another worker stops' if trainer.was_asked_to_stop else ''
    _say_what_next(run_dir, signal, profiler)
    return stop.exit_code or (strategies.STOPPED if signal else 0)


def _monitor(run_dir: pathlib.Path, trainer: Trainer, config: Config, dataset: Dataset) -> Monitor:
    counts_epochs = config.training.interval('log_every').epochs
    return Monitor(
        run_dir,
        trainer.step,
        None if trainer.time_limit else trainer.last_step,
        int(trainer.reported_step),
        trainer.windows.steps_per_epoch if counts_epochs else None,
        has_valid=dataset.valid is not None,
        settings=config.to_dict(),
    )


def _valid_loss(dataset: Dataset, trainer: Trainer) -> ValidLoss | None:
    """Returns the loss on the held-out part, as `Run` uses it; None: there is no such part."""
    if not dataset.valid:
        return None
    valid = dataset.valid.beginning(trainer.config.max_evaluate_characters)
    return functools.partial(Scorer(trainer.evaluated_model, jit=trainer.config.jit).nats, valid)


@dataclasses.dataclass
class Run:
    """The parts of a run while it trains."""

    trainer: Trainer
    ids: Ids
    """Those of the training part."""
    checkpoints: Checkpoints
    best: BestCheckpoint
    monitor: Monitor
    profiler: Profiler
    stop: StopRequest
    samples: Samples
    valid_loss: ValidLoss | None
    """Returns the loss on the held-out part under the current weights, in nats per character; polls its argument."""
    hint_given: bool = False

    def __post_init__(self):
        self._log, self._evaluation, self._sampling = (
            Due(self.trainer.config.interval(name).without_epochs(self.trainer.windows.steps_per_epoch))
            for name in ('log_every', 'evaluate_every', 'sample_every')
        )
        self._reported_since_save = False

    def train(self) -> None:
        """Trains, reports and saves until the last epoch, a stop request or early stopping."""
        calls = self.trainer.train(self.ids, self.profiler.before_call, lambda: bool(self.stop.signal))
        try:
            with contextlib.closing(calls):
                self._train(calls)
        except Stopped:
            pass
        except OutputError:  # save, as on Ctrl-C
            self._save()
            raise
        self._save()

    def _train(self, calls: Iterable[Progress]) -> None:
        for progress in calls:
            self._after_call(progress)
            if self.trainer.early_stopping.is_due:
                self.monitor.say(_stopped_early(self.trainer))
                return
            if self.trainer.is_done and progress.step % self.trainer.windows.steps_per_epoch:
                self.monitor.say(f'max_seconds={self.trainer.config.max_seconds:,}: ends in epoch {progress.epoch}')
            self.stop.check()

    def _after_call(self, progress: Progress) -> None:
        """Saves a due checkpoint first, because an evaluation and samples may take long."""
        self.monitor.after_call(progress)
        self.profiler.after_call(progress.step)
        if self.checkpoints.is_due(progress.step):
            self._save()
        self._report(progress)

    def _report(self, progress: Progress) -> None:
        """Evaluates, keeps the best weights, reports and samples, if they are due.

        The trainer's variables change only at the end: a run that is stopped or killed before repeats all of it when it
        resumes.

        Raises:
          Stopped: a stop was requested.
        """
        is_last = progress.step >= self.trainer.last_step
        evaluates = bool(self.valid_loss) and self._evaluation.at(progress.step, at_end=is_last)
        samples = self._sampling.at(progress.step, at_end=is_last)
        point = evaluates or self._log.at(progress.step, at_end=is_last)
        if not (evaluates or samples or point or progress.may_be_due):
            return
        valid_nats = self._evaluate(self.valid_loss, progress) if self.valid_loss and evaluates else None
        if point:
            self.monitor.point(progress, samples or is_last, valid_nats)
            self._log.done()
        elif samples:
            self.monitor.line(progress)
        if samples:
            self._sample(progress)
        if progress.epoch_ended:
            self._end_epoch(progress)
        if point:
            self.trainer.start_point()
        if valid_nats is not None:
            self.trainer.early_stopping.note(valid_nats)
        self.trainer.reported_step.assign(progress.step)
        self._reported_since_save = True

    def _evaluate(self, valid_loss: ValidLoss, progress: Progress) -> float:
        """Returns the loss on the held-out part, in nats per character; saves the weights if they are the best."""
        valid_nats = valid_loss(lambda: self._while_evaluating(progress.step))
        if self.trainer.early_stopping.improves(valid_nats):
            self.best.save(progress.step, progress.epoch, valid_nats, progress.epoch_means.loss)
        self._evaluation.done()
        return valid_nats

    def _sample(self, progress: Progress) -> None:
        config = self.trainer.config
        if config.prefixes:
            self.stop.check()
            self.monitor.samples(progress, self.samples.texts(config.prefixes, config.sample_length))
        self._sampling.done()

    def _end_epoch(self, progress: Progress) -> None:
        self.monitor.epoch_ended()
        if not self.hint_given and (hint := _hint(self.trainer, progress)):
            self.monitor.say(hint)
            self.hint_given = True

    def _while_evaluating(self, step: int) -> None:
        self.stop.check()
        self.monitor.while_evaluating(step)

    def _save(self) -> None:
        """Flushes the curves, then saves: a checkpoint ahead of the curves would leave a gap in them after a kill."""
        self.monitor.flush()
        self.checkpoints.save(self.trainer.step, again=self._reported_since_save)
        self._reported_since_save = False


def nothing_left(trainer: Trainer) -> str | None:
    """Returns why nothing is left to train and how to continue; None if something is left."""
    if trainer.is_done:
        if trainer.step < trainer.config.num_epochs * trainer.windows.steps_per_epoch:
            return f'nothing left to train: max_seconds={trainer.config.max_seconds:,} are over. {LONGER}'
        done, schedule = trainer.num_epochs_done, trainer.config.schedule
        if schedule != 'constant':
            return f'nothing left to train: {done} epochs are done, where schedule={schedule} ends. {LONGER}'
        return f'nothing left to train: {done} epochs are done. To continue, give a --num_epochs above {done}'
    if trainer.early_stopping.is_due:
        return f'{_stopped_early(trainer)}: give a larger --early_stopping_patience (0: off) to continue'
    return None


def _warm_up_note(trainer: Trainer) -> list[str]:
    warmup, last = trainer.config.warmup_steps, trainer.last_step
    if warmup < last:
        return []
    return [
        f'warmup_steps={warmup:,} is not less than the {last:,} minibatches of the run: the learning rate never '
        f'reaches {trainer.config.learning_rate:g}'
    ]


def _describe(name: str, dataset: Dataset, trainer: Trainer) -> str:
    num_documents = dataset.source.text.header.num_documents
    files = f'{num_documents:,} files, ' if num_documents > 1 else ''
    return (
        f'{name}: {files}{len(dataset.source.text):,} characters, {len(dataset.vocabulary):,} distinct; '
        f'{trainer.windows.steps_per_epoch:,} minibatches an epoch; {trainer.model.num_parameters:,} parameters'
    )


def _notes(dataset: Dataset) -> list[str]:
    """Returns lines on the held-out part, on U+FFFD in the text, and on a text that cannot be read again."""
    lines = [_describe_valid(dataset.valid, dataset.vocabulary)] if dataset.valid else []
    if dataset.num_test_characters:
        lines.append(f'test part, not read in training: {dataset.num_test_characters:,} characters')
    if count := dataset.source.text.count(UNKNOWN):
        use = 'read as the unknown character' if dataset.vocabulary.has_unknown else 'an ordinary character here'
        lines.append(f'U+FFFD occurs {count:,} times in the text: {use}')
    if not dataset.source.can_be_read_again:
        lines.append('the text came through a pipe: to be able to resume, save it to a file and train on that')
    return lines


def _describe_valid(valid: EncodedText, vocabulary: Vocabulary) -> str:
    """Returns a line on the held-out part and on its characters outside the vocabulary."""
    fate = 'left out (--min_count=2 would read them)' if vocabulary.unknown_id is None else 'read as U+FFFD'
    unknown = f'{valid.unknown_rate:.2%} of them unknown' + (f', {fate}' if valid.num_unknown else '')
    return f'validation part: {valid.num_characters:,} characters, {unknown}'


def _where_it_resumes(trainer: Trainer) -> str:
    step, per_epoch = trainer.step, trainer.windows.steps_per_epoch
    where = f'resumes after epoch {trainer.num_epochs_done} of {trainer.config.num_epochs}'
    return where if step % per_epoch == 0 else f'{where}, at step {step % per_epoch:,} of {per_epoch:,} of the next'


def _hint(trainer: Trainer, progress: Progress) -> str | None:
    """Returns advice if the loss of an epoch was above ln V: the steps or the initial weights are too large."""
    size = trainer.model.vocabulary_size
    if progress.epoch_means.loss <= uniform_nats(size) + _GUESSING_MARGIN:
        return None
    what_to_try = advice.against_divergence(trainer.model.config, trainer.config)
    return f'this epoch was worse than guessing among all {size:,} characters. What to try: {what_to_try}'


def _stopped_early(trainer: Trainer) -> str:
    stopping = trainer.early_stopping
    return (
        f'stopped early: the best valid perplexity, {perplexity(stopping.best):.2f}, '
        f'is {stopping.since_best} evaluations old'
    )


def _say_what_next(run_dir: pathlib.Path, stopped_by: str, profiler: Profiler) -> None:
    if profiler.missing:
        print(profiler.missing)
    if stopped_by:
        print(f'{stopped_by}: saved. To resume: {command_line.command("pipeline.train", run_dir=run_dir)}')
    else:
        print(f'saved in {run_dir}. Next: {command_line.command("export.saved_model", run_dir=run_dir)}')
