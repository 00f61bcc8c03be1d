"""Evaluation of a run on a text: the loss of the model, which reads it as one stream, and of two baselines."""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data.corpus import text_sha256
from data.errors import InputError
from data.split import split
from pipeline import devices, run_directory
from pipeline.checkpoints import load_model
from pipeline.config import DataConfig
from pipeline.dataset import EncodedText, load_corpus
from pipeline.model import CharRNN, State, transposed
from pipeline.perplexity import finite, perplexity, uniform_nats, unigram_nats
from pipeline.run_directory import RunRecord

WINDOW = 1000  # characters per call: enough to hide its overhead, few enough for the logits [T, 1, V]


class Scorer:
    """Computes the loss of a model on texts with its current weights."""

    def __init__(self, model: CharRNN, *, window: int = WINDOW, jit: bool = True):
        """`window`: characters per compiled call; it affects only the speed."""
        self._model = model
        self._window = window
        self._score = tf.function(self._score_in_graph, jit_compile=jit)

    def nats(self, ids: np.ndarray, before_call: Callable[[], None] = lambda: None) -> float:
        """Returns the mean of `-ln p` over all characters but the first, in nats; ids `[K] int32`, K of 2 or more.

        The state is zero before the first character and is carried across the ends of windows. `before_call` is called
        before each window; an exception that it raises ends the evaluation.
        """
        num_targets = len(ids) - 1
        window = min(self._window, num_targets)
        state, sums = self._model.zero_state(1), []
        for start in range(0, num_targets, window):
            before_call()
            part = ids[start : start + window + 1]
            # The last window is padded, so that all windows have one shape; the padding is not counted.
            padded = np.pad(part, (0, window + 1 - len(part)))
            total, state = self._score(tf.constant(padded[np.newaxis]), tf.constant(len(part) - 1), state)
            sums.append(float(total))
        return math.fsum(sums) / num_targets

    def _score_in_graph(self, ids: tf.Tensor, count: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Returns the summed `-ln p` of the first `count` targets of a window `[1, T+1] int32`, and the next state."""
        inputs, targets = ids[:, :-1], transposed(ids[:, 1:])
        logits, state = self._model(inputs, state)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        counted = tf.range(inputs.shape[1])[:, tf.newaxis] < count
        return tf.reduce_sum(tf.cast(tf.where(counted, losses, 0.0), tf.float64)), state


_MOST_UNKNOWN = 0.25  # fraction of a text; above it the figures say little about that text


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Losses on one text, in nats per character, of the model and of the baselines."""

    num_characters: int
    """Of the text, including unknown characters."""
    num_predicted: int
    """Characters that the losses are means over."""
    unknown_rate: float
    nats: dict[str, float]
    """`{'model': …, 'unigram': …, 'uniform': …}`."""

    def to_dict(self) -> dict:
        """Returns the figures ready for JSON: a number that is not finite is None."""
        keys = ('perplexity', 'nats_per_character', 'bits_per_character')
        figures = {
            name: dict(zip(keys, map(finite, (perplexity(n), n, n / math.log(2))), strict=True))
            for name, n in self.nats.items()
        }
        counts = {name: getattr(self, name) for name in ('num_characters', 'num_predicted', 'unknown_rate')}
        return counts | figures.pop('model') | figures


def evaluate(model: CharRNN, record: RunRecord, text: str, name: str) -> Evaluation:
    """Evaluates `model` on `text`. Raises `InputError`, which calls the text `name`, if the text is too short."""
    encoded = EncodedText.from_text(text, record.vocabulary, name)
    nats = {
        'model': Scorer(model, jit=record.config.training.jit).nats(encoded.ids),
        'unigram': unigram_nats(encoded.ids, np.array(record.counts)),
        'uniform': uniform_nats(len(record.vocabulary)),
    }
    return Evaluation(encoded.num_characters, len(encoded.ids) - 1, encoded.unknown_rate, nats)


def evaluate_run(run_dir: pathlib.Path, which: str | None, text_settings: dict) -> tuple[pathlib.Path, str, Evaluation]:
    """Evaluates a checkpoint of a run on a text.

    Args:
      run_dir: the run.
      which: one of `config.CHECKPOINTS`; None: the best if the run has one, else the latest.
      text_settings: fields of `DataConfig` that name a text; line breaks are read as in training unless it has
        `newlines`. Empty: the held-out part of the run.

    Returns:
      The path of the checkpoint, the name of the text and its evaluation.

    Raises:
      InputError: the run, the checkpoint or the text cannot be read.
    """
    record = run_directory.read(run_dir)
    if text_settings:
        data = DataConfig(**{'newlines': record.config.data.newlines} | text_settings)
        text, name = load_corpus(data).text, data.corpus
    else:
        text, name = held_out_part(run_dir, record), f'the held-out part of {record.config.data.corpus}'
    devices.prepare()
    model = CharRNN(record.config.model, len(record.vocabulary))
    checkpoint = load_model(run_dir, model, which)
    return checkpoint, name, evaluate(model, record, text, name)


def held_out_part(run_dir: pathlib.Path, record: RunRecord) -> str:
    """Returns the held-out part of the corpus of a run.

    Raises:
      InputError: the run held out nothing, or its corpus has changed since.
    """
    data = record.config.data
    if not data.valid_fraction:
        raise InputError(
            f'run_dir {str(run_dir)!r} held out no text: valid_fraction=0. Evaluate on another text with --corpus, or '
            f'train with --valid_fraction=0.1.'
        )
    text = load_corpus(data).text
    run_directory.check_same(run_dir, record, record.config, text_sha256(text))
    return split(text, data.valid_fraction)[1]


def report(evaluation: Evaluation) -> str:
    """Returns the figures as a table."""
    lines = [
        f'{evaluation.num_characters:,} characters, {evaluation.num_predicted:,} predicted, '
        f'{evaluation.unknown_rate:.2%} unknown',
        f'{"":8}{"perplexity":>12}{"nats/char":>12}{"bits/char":>12}',
    ]
    for name, nats in evaluation.nats.items():
        lines.append(f'{name:8}{perplexity(nats):12.2f}{nats:12.4f}{nats / math.log(2):12.4f}')
    if evaluation.unknown_rate > _MOST_UNKNOWN:
        lines.append(
            f'More than {_MOST_UNKNOWN:.0%} of this text is unknown to the model: the figures say little about it.'
        )
    return '\n'.join(lines)
