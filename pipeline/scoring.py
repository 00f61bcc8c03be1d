"""What a text costs in nats: under a model that reads it as one stream, and under two that know nothing of order.

Perplexity is `exp` of the mean nats a character; bits are nats / ln 2.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.vocabulary import Vocabulary
from pipeline.model import CharRNN, State

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
