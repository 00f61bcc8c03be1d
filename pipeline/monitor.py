"""Reports on a run: lines and a progress bar in the console, curves in TensorBoard and in `metrics.jsonl`, samples."""

import contextlib
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator

import tensorflow as tf
from keras.utils import Progbar
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from data.terminal import shown
from pipeline import metrics_file
from pipeline.perplexity import perplexity
from pipeline.trainer import Progress

_SECONDS_BETWEEN_LINES = 60.0
_FLUSH_SECONDS = 5
_BAR_COLUMNS = 75  # the 20 of Keras' bar and the widest figures on both sides of it
_CLEAR_LINE = '\r\033[K'


class _Events(EventFileWriter):
    """The events of one TensorBoard run; the step of each is its epoch, or the minibatches trained."""

    def __init__(self, directory: pathlib.Path, done: int):
        """Makes readers drop the events after `done`: a resumed run writes them again."""
        super().__init__(str(directory), flush_secs=_FLUSH_SECONDS)
        self.add(done + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, place: int, **content: SessionLog | Summary) -> None:
        self.add_event(Event(wall_time=time.time(), step=place, **content))


def _has_room_for_a_bar() -> bool:
    """A bar wider than the terminal wraps, and then each update adds a line."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= _BAR_COLUMNS


class Monitor:
    """Reports on one run: a bar on a terminal, else at least one line per minute.

    TensorBoard shows the directories `train` and `valid` as two runs. Their tags `perplexity` and `loss` are the same,
    so each chart shows both.
    """

    def __init__(
        self,
        run_dir: pathlib.Path,
        first_step: int,
        last_step: int | None,
        reported_step: int,
        epoch_axis: int | None,
        has_valid: bool = False,
        settings: dict | None = None,
        clock: Callable[[], float] = time.monotonic,
        terminal: bool | None = None,
    ):
        """Continues the curves in `run_dir` after the point of `reported_step`.

        Args:
          run_dir: the run.
          first_step: minibatches trained so far.
          last_step: minibatches at the end of the run; None: unknown.
          reported_step: the step of the last point.
          epoch_axis: minibatches per epoch, if the axis of the curves counts epochs; None: it counts minibatches.
          has_valid: whether the run has a held-out part.
          settings: `{name: value}`, which TensorBoard shows under HParams; written when the run is new.
          clock: returns seconds.
          terminal: whether to draw a bar. None: if stdout is a terminal that is wide enough.
        """
        self._clock = clock
        self._last_line = clock()
        self._first_step, self._last_step = first_step, last_step
        self._seconds, self._characters = 0.0, 0  # since the last point
        self._seconds_of_epoch = 0.0
        self._counts_epochs = epoch_axis is not None
        terminal = _has_room_for_a_bar() if terminal is None else terminal
        target = None if last_step is None else last_step - first_step
        self._bar = Progbar(target, stateful_metrics=['perplexity']) if terminal else None
        self._events: dict[str, _Events] = {}
        self._run_dir = run_dir
        with self._curves():
            metrics_file.resume(run_dir, reported_step)
            if settings and not first_step:
                _write_settings(run_dir, settings)
            for part in ('train', 'valid') if has_valid else ('train',):
                self._events[part] = _Events(run_dir / part, reported_step // (epoch_axis or 1))

    def flush(self) -> None:
        """Writes all events so far to disk."""
        with self._curves():
            for events in self._events.values():
                events.flush()

    def after_call(self, progress: Progress) -> None:
        """Moves the bar, or prints a line if the last one is a minute old."""
        self._seconds += progress.seconds
        self._seconds_of_epoch += progress.seconds
        self._characters += progress.num_characters
        if self._bar:
            done = progress.step - self._first_step
            self._bar.update(done, [('perplexity', progress.perplexity)], finalize=False)
        elif not progress.epoch_ended and self._is_silent():
            self.say(self._line_within_epoch(progress))

    def while_evaluating(self, step: int) -> None:
        """Prints a line if the last one is a minute old and there is no bar."""
        if not self._bar and self._is_silent():
            self.say(f'after step {step:,}: evaluating on the held-out part')

    def point(self, progress: Progress, line_is_due: bool, valid_nats: float | None = None) -> None:
        """Writes a point of the curves, and a line if it is due.

        `valid_nats` is the held-out loss, in nats per character; None: not evaluated at this step.
        """
        means, place = progress.point_means, self._place(progress)
        scalars = {
            'perplexity': perplexity(means.loss),
            'loss': means.loss,
            'gradients/global_norm': means.global_norm,
            'gradients/clipped_fraction': means.clipped_fraction,
            'learning_rate': progress.learning_rate,
        }
        metrics = {tag.rpartition('/')[2]: value for tag, value in scalars.items()}
        if self._seconds:  # 0 if a process before this one trained all since the last point
            scalars['characters_per_second'] = self._characters / self._seconds
        self._add('train', place, [scalar_pb(tag, value) for tag, value in scalars.items()])
        if valid_nats is not None:
            scalars = {'perplexity': perplexity(valid_nats), 'loss': valid_nats}
            self._add('valid', place, [scalar_pb(tag, value) for tag, value in scalars.items()])
            metrics |= {f'valid_{name}': value for name, value in scalars.items()}
        with self._curves():
            if self._events:
                seconds = round(self._seconds, 3)
                metrics_file.append(self._run_dir, progress.epoch, progress.step, **metrics, seconds=seconds)
        self._seconds, self._characters = 0.0, 0
        if line_is_due or (not self._bar and self._is_silent()):
            self.line(progress, '' if valid_nats is None else f', valid {perplexity(valid_nats):.2f}')

    def line(self, progress: Progress, more: str = '') -> None:
        """Prints where the run is, and `more`."""
        self.say(f'{self._line(progress)}{more}')

    def epoch_ended(self) -> None:
        """Counts the seconds of the next epoch."""
        self._seconds_of_epoch = 0.0

    def samples(self, progress: Progress, texts: list[str]) -> None:
        """Prints the generated texts and shows them in TensorBoard."""
        self._add('train', self._place(progress), [text_pb('samples', [_code_block(text) for text in texts])])
        for text in texts:
            self.say(f' - {shown(text, sys.stdout)}')

    def say(self, line: str) -> None:
        """Prints a line, above the bar if there is one."""
        print(f'{_CLEAR_LINE if self._bar else ""}{line}', flush=True)
        self._last_line = self._clock()

    def _line(self, progress: Progress) -> str:
        if not progress.epoch_ended:
            return self._line_within_epoch(progress)
        return f'epoch {progress.epoch}, perplexity {progress.perplexity:.2f}, time {self._seconds_of_epoch:.2f} sec'

    def _line_within_epoch(self, progress: Progress) -> str:
        end = '' if self._last_step is None else f' of {self._last_step:,}'
        where = f'step {progress.step:,}{end}, in epoch {progress.epoch}'
        return f'{where}: perplexity {progress.perplexity:.2f} so far'

    def _place(self, progress: Progress) -> int:
        """Returns the place of a point on the axis of the curves."""
        return progress.epoch if self._counts_epochs else progress.step

    def _is_silent(self) -> bool:
        return self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES

    def close(self) -> None:
        """Writes all events to disk and removes the bar."""
        with self._curves():
            for events in self._events.values():
                events.close()
        if self._bar:
            print(_CLEAR_LINE, end='', flush=True)

    def _add(self, part: str, place: int, summaries: list[Summary]) -> None:
        with self._curves():
            for summary in summaries if part in self._events else []:
                self._events[part].add(place, summary=summary)

    @contextlib.contextmanager
    def _curves(self) -> Iterator[None]:
        """Gives up the curves, and not the run, if they cannot be written, as on a full disk."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            self._events = {}
            self.say(f'the curves cannot be written and end here: {str(error).splitlines()[0]}')


def _code_block(text: str) -> str:
    """Returns Markdown that shows `text` unchanged; TensorBoard reads samples as Markdown."""
    fence = '`' * max(3, 1 + max((len(run) for run in re.findall('`+', text)), default=0))
    return f'{fence}\n{text}\n{fence}'


def _write_settings(run_dir: pathlib.Path, settings: dict) -> None:
    """Writes the settings above `train` and `valid`: HParams then shows the metrics of both beside them."""
    events = _Events(run_dir, 0)
    plain = {name: ','.join(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    events.add(0, summary=hparams.hparams_pb(plain))
    events.close()
