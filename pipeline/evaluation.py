"""What a text costs in nats: under a model that reads it as one stream, and under two that know nothing of order.

Perplexity is `exp` of the mean nats a character; bits are nats / ln 2.
"""

import dataclasses
import math
import pathlib

import numpy as np
import tensorflow as tf

from data import corpus
from data.errors import InputError
from data.split import split
from data.vocabulary import Vocabulary
from pipeline import devices, run_directory
from pipeline.checkpoints import load_model
from pipeline.config import DataConfig
from pipeline.model import CharRNN, State
from pipeline.run_directory import Recorded

WINDOW = 1000  # characters a call: long enough to hide what the call costs, short enough for logits [T, 1, V]
_LARGEST_EXPONENT = 88.7  # of a float32, which TensorBoard keeps


@dataclasses.dataclass(frozen=True)
class Reading:
    """A text as a model reads it."""

    ids: np.ndarray
    """`[K] int32`, two or more."""
    num_characters: int
    """Of the text."""
    num_unknown: int
    """Those that the vocabulary has not, in `ids` as U+FFFD or left out of them; see `Vocabulary.encode_any`."""

    @property
    def unknown_rate(self) -> float:
        return self.num_unknown / self.num_characters


def read(text: str, vocabulary: Vocabulary, name: str) -> Reading:
    """Reads `text`, which messages call `name`.

    Raises:
      InputError: fewer than two characters can be read, so that there is none to predict.
    """
    ids, num_unknown = vocabulary.encode_any(text)
    if len(ids) < 2:
        raise InputError(
            f'{name} is too short to evaluate: {len(ids)} of its {len(text):,} characters can be read, and it takes 2, '
            f'one to begin with and one to predict. Give a longer text.'
        )
    return Reading(ids, len(text), num_unknown)


class Scorer:
    """Reads texts with a model's weights as they stand, and does not touch them."""

    def __init__(self, model: CharRNN, *, window: int = WINDOW, jit: bool = True):
        """`window` characters are read by one compiled call; it changes nothing but the speed."""
        self._model = model
        self._window = window
        self._score = tf.function(self._score_in_graph, jit_compile=jit)

    def nats(self, ids: np.ndarray) -> float:
        """The mean of `-ln p` over all characters but the first, in nats; ids `[K] int32`, K two or more.

        The state is zero before the first character and carried to the last one, over the ends of the windows.
        """
        num_targets = len(ids) - 1
        window = min(self._window, num_targets)
        state, sums = self._model.zero_state(1), []
        for start in range(0, num_targets, window):
            part = ids[start : start + window + 1]
            # The last window is filled up, so that all have one shape; what stands behind its end is not counted.
            filled = np.pad(part, (0, window + 1 - len(part)))
            total, state = self._score(tf.constant(filled[np.newaxis]), tf.constant(len(part) - 1), state)
            sums.append(float(total))
        return math.fsum(sums) / num_targets

    def _score_in_graph(self, ids: tf.Tensor, count: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """The sum of `-ln p` of the first `count` targets of one window, `[1, T+1] int32`, and the state after it."""
        inputs, targets = ids[:, :-1], tf.transpose(ids[:, 1:])
        logits, state = self._model(inputs, state)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        counted = tf.range(inputs.shape[1])[:, tf.newaxis] < count
        return tf.reduce_sum(tf.cast(tf.where(counted, losses, 0.0), tf.float64)), state


def uniform_nats(vocabulary_size: int) -> float:
    """Nats a character where all V are equally likely: ln V."""
    return math.log(vocabulary_size)


def unigram_nats(ids: np.ndarray, counts: np.ndarray) -> float:
    """The mean of `-ln p` over all ids but the first, where p is how often the training part has the character.

    `p(c) = (counts[c] + 1) / (sum(counts) + V)`: one is added (Laplace's rule), since U+FFFD is a character that the
    training part may not have at all, and any text would be impossible that has it.
    """
    p = (counts + 1) / (counts.sum() + len(counts))
    return float(-np.log(p[ids[1:]]).mean())


def perplexity(nats: float) -> float:
    """`exp` of the mean nats a character; inf where that is too large for a float."""
    return math.exp(nats) if nats < _LARGEST_EXPONENT else nats if math.isnan(nats) else math.inf


_MOST_UNKNOWN = 0.25  # of a text whose perplexity is still one of that text


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Mean nats a character of one text, under the model and the baselines."""

    num_characters: int
    """Of the text, unknown ones too."""
    num_predicted: int
    """Those that the means are over."""
    unknown_rate: float
    nats: dict[str, float]
    """`{'model': …, 'unigram': …, 'uniform': …}`."""

    def to_dict(self) -> dict:
        """Ready for JSON: a number that is not finite is None."""
        figures = {
            name: {
                'perplexity': perplexity(n),
                'nats_per_character': n,
                'bits_per_character': n / math.log(2),
            }
            for name, n in self.nats.items()
        }
        finite = {
            name: {key: value if math.isfinite(value) else None for key, value in row.items()}
            for name, row in figures.items()
        }
        counts = {name: getattr(self, name) for name in ('num_characters', 'num_predicted', 'unknown_rate')}
        return counts | finite.pop('model') | finite


def evaluate(model: CharRNN, recorded: Recorded, text: str, name: str) -> Evaluation:
    """How well `model` predicts `text`. Raises `InputError`, with `name` for the text, where that is too short."""
    reading = read(text, recorded.vocabulary, name)
    nats = {
        'model': Scorer(model, jit=recorded.config.training.jit).nats(reading.ids),
        'unigram': unigram_nats(reading.ids, np.array(recorded.counts)),
        'uniform': uniform_nats(len(recorded.vocabulary)),
    }
    return Evaluation(reading.num_characters, len(reading.ids) - 1, reading.unknown_rate, nats)


def evaluate_run(run_dir: pathlib.Path, which: str | None, text_settings: dict) -> tuple[str, str, Evaluation]:
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
    recorded = run_directory.read(run_dir)
    if text_settings:
        data = DataConfig(**{'newlines': recorded.config.data.newlines} | text_settings)
        text, name = load_corpus(data), data.corpus
    else:
        text, name = held_out_part(run_dir, recorded), f'the held-out part of {recorded.config.data.corpus}'
    devices.prepare()
    model = CharRNN(recorded.config.model, len(recorded.vocabulary))
    checkpoint = load_model(run_dir, model, which)
    return checkpoint, name, evaluate(model, recorded, text, name)


def load_corpus(data: DataConfig) -> str:
    """Returns the text of `data`. Raises `InputError` if it cannot be read."""
    return corpus.load(data.corpus, encoding=data.encoding, newlines=data.newlines, max_characters=data.max_characters)


def held_out_part(run_dir: pathlib.Path, recorded: Recorded) -> str:
    """The text that the run held out.

    Raises:
      InputError: it held out nothing, or its corpus is no longer the one that it began with.
    """
    data = recorded.config.data
    if not data.valid_fraction:
        raise InputError(
            f'run_dir {str(run_dir)!r} held out no text: valid_fraction=0. Name one that it has not seen with '
            f'--corpus, or train with --valid_fraction=0.1.'
        )
    text = load_corpus(data)
    run_directory.check_same(run_dir, recorded, recorded.config, run_directory.text_sha256(text))
    return split(text, data.valid_fraction)[1]


def report(evaluation: Evaluation) -> str:
    """The figures as a table for people."""
    lines = [
        f'{evaluation.num_characters:,} characters, {evaluation.num_predicted:,} predicted, '
        f'{evaluation.unknown_rate:.2%} unknown',
        f'{"":8}{"perplexity":>12}{"nats/char":>12}{"bits/char":>12}',
    ]
    for name, nats in evaluation.nats.items():
        lines.append(f'{name:8}{perplexity(nats):12.2f}{nats:12.4f}{nats / math.log(2):12.4f}')
    if evaluation.unknown_rate > _MOST_UNKNOWN:
        lines.append('So much of this text is unknown to the model that the figures say little about it.')
    return '\n'.join(lines)
