"""What a person sees of a run: lines and a bar in the console, curves and samples in TensorBoard."""

import pathlib
import shutil
import sys
import time
from collections.abc import Callable

import tensorflow as tf
from keras.utils import Progbar
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams
from tensorflow.core.util import event_pb2

from pipeline.evaluation import perplexity
from pipeline.trainer import Progress

_SECONDS_BETWEEN_LINES = 60.0
_FLUSH_MILLIS = 5000
_BAR_COLUMNS = 75  # Keras' own 20, and the widest figures on both sides of it
_CLEAR_LINE = '\r\033[K'


def _chart(title: str) -> layout_pb2.Chart:
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[f'{title}/(train|valid)']))


# The tab Custom Scalars: train and valid in one chart.
_LAYOUT = layout_pb2.Layout(
    category=[layout_pb2.Category(title='train and valid', chart=[_chart('perplexity'), _chart('loss')])]
)


def _has_room_for_a_bar() -> bool:
    """A bar that wraps cannot be drawn over: it would leave a line for each step."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= _BAR_COLUMNS


class Monitor:
    """Follows one run: a bar on a terminal; in a log, a line each minute at least, so that it never looks dead."""

    def __init__(
        self,
        run_dir: pathlib.Path,
        first_step: int,
        last_step: int,
        num_epochs_done: int,
        *,
        settings: dict | None = None,
        clock: Callable[[], float] = time.monotonic,
        terminal: bool | None = None,
    ):
        """Writes TensorBoard events into `run_dir`, whose curves stand as far as epoch `num_epochs_done`.

        `settings` of a new run go into TensorBoard's HParams; `clock` tells seconds; `terminal` says whether to draw a
        bar: unless given, where stdout is a terminal wide enough for one.
        """
        self._writer = tf.summary.create_file_writer(str(run_dir), flush_millis=_FLUSH_MILLIS)
        self._forget_later_than(num_epochs_done)
        if settings and not first_step:
            self._write_settings(settings)
        self._has_layout = False
        self._clock = clock
        self._last_line = clock()
        self._first_step = first_step
        self._seconds, self._characters = 0.0, 0  # of this epoch
        terminal = _has_room_for_a_bar() if terminal is None else terminal
        self._bar = Progbar(last_step - first_step, stateful_metrics=['perplexity']) if terminal else None

    def _forget_later_than(self, epoch: int) -> None:
        """Has readers of the events drop what a killed run wrote of epochs that now come again."""
        restart = event_pb2.Event(
            wall_time=time.time(), step=epoch + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        )
        # There is no public way to write an event that is not a summary.
        tf.raw_ops.ImportEvent(writer=self._writer._resource, event=restart.SerializeToString())

    def _write_settings(self, settings: dict) -> None:
        plain = {name: ','.join(value) if isinstance(value, tuple) else value for name, value in settings.items()}
        with self._writer.as_default(step=0):
            hparams.hparams(plain)

    def flush(self) -> None:
        """Makes sure that all events so far are on disk."""
        self._writer.flush()

    def after_call(self, progress: Progress) -> None:
        """Moves the bar on."""
        self._seconds += progress.seconds
        self._characters += progress.num_characters
        if self._bar:
            done = progress.step - self._first_step
            self._bar.update(done, [('perplexity', progress.perplexity)], finalize=False)

    def after_epoch(self, progress: Progress, line_is_due: bool, valid_nats: float | None = None) -> None:
        """Writes the curves, with the epoch as their step, and the section's line when it is due.

        `valid_nats` is the held-out loss, nats a character, where it was evaluated after this epoch.
        """
        with self._writer.as_default(step=progress.epoch):
            tf.summary.scalar('perplexity/train', progress.perplexity)
            tf.summary.scalar('loss/train', progress.loss)
            tf.summary.scalar('gradients/global_norm', progress.global_norm)
            tf.summary.scalar('gradients/clipped_fraction', progress.clipped_fraction)
            tf.summary.scalar('learning_rate', progress.learning_rate)
            tf.summary.scalar('characters_per_second', self._characters / self._seconds)
        if valid_nats is not None:
            self._write_valid(progress.epoch, valid_nats)
        silent = not self._bar and self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES
        if line_is_due or silent:
            line = f'epoch {progress.epoch}, perplexity {progress.perplexity:.2f}, time {self._seconds:.2f} sec'
            self.say(line if valid_nats is None else f'{line}, valid {perplexity(valid_nats):.2f}')
        self._seconds, self._characters = 0.0, 0

    def _write_valid(self, epoch: int, nats: float) -> None:
        """Writes the held-out curves, and the first time what has TensorBoard draw them with those of training."""
        with self._writer.as_default(step=epoch):
            tf.summary.scalar('perplexity/valid', perplexity(nats))
            tf.summary.scalar('loss/valid', nats)
            if not self._has_layout:
                tf.summary.experimental.write_raw_pb(custom_scalar.pb(_LAYOUT).SerializeToString())
        self._has_layout = True

    def samples(self, epoch: int, texts: list[str]) -> None:
        """Shows the texts that the model makes of the prefixes."""
        with self._writer.as_default(step=epoch):
            tf.summary.text('samples', texts)
        for text in texts:
            self.say(f' - {text}')

    def say(self, line: str) -> None:
        """Prints a line, above the bar where there is one."""
        print(f'{_CLEAR_LINE if self._bar else ""}{line}', flush=True)
        self._last_line = self._clock()

    def close(self) -> None:
        """Takes the bar off the screen and makes sure that all events are on disk."""
        if self._bar:
            print(_CLEAR_LINE, end='', flush=True)
        self._writer.close()
