"""The losses of a model on a text.

A short text is one stream. A text of `LONG` characters or more is cut into rows that are read
side by side, up to 64, which is many times as fast. Each row but the first reads the `CONTEXT` characters before it
first, without counting them: after that, its state no longer depends on where it started.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pipeline.dataset import CONTEXT, EncodedText
from pipeline.model import CharRNN, State, transposed
from pipeline.perplexity import mean

WINDOW = 1000  # characters of one stream per call: enough to hide its overhead, few enough for the logits [T, 1, V]
LONG = 100_000
_ROW = 10_000  # characters: a shorter row would read more than a tenth of them twice
_MOST_ROWS = 64
_MOST_LOGITS = 8_000  # rows of V logits per call


class Scorer:
    """Computes the loss of a model on texts with its current weights."""

    def __init__(self, model: CharRNN, *, window: int = WINDOW, jit: bool = True):
        """`window`: characters of a row per compiled call; it affects only the speed."""
        self._model = model
        self._window = window
        self._score = tf.function(self._score_in_graph, jit_compile=jit, autograph=False)

    def nats(self, text: EncodedText, before_call: Callable[[], None] = lambda: None) -> float:
        """Returns the mean of `-ln p` over the targets of `text`, in nats per character.

        `before_call` is called before each window; an exception that it raises ends the evaluation.
        """
        return mean(self.losses(text, before_call))

    def losses(self, text: EncodedText, before_call: Callable[[], None] = lambda: None) -> np.ndarray:
        """Returns `-ln p` of each target of `text`, `[K] float32`, in nats; see `nats`.

        The state is zero before the first character of a row and is carried across the ends of windows.
        """
        num_predicted = len(text.ids) - 1
        rows = _num_rows(num_predicted)
        context = CONTEXT if rows > 1 else 0
        counted = -(-(num_predicted - context) // rows)  # characters of a row after its context
        length = context + counted
        window = min(self._window, length, max(_MOST_LOGITS // rows, 1))
        starts = counted * np.arange(rows)
        state, losses = self._model.zero_state(rows), []
        for first in range(0, length, window):
            before_call()
            # The last window and the last row are padded, so that all windows have one shape.
            ids = text.ids.windows(starts + first, window + 1)
            found, state = self._score(tf.constant(ids), state)
            losses.append(found.numpy()[: length - first])
        of_rows = np.concatenate(losses).T
        return np.concatenate([of_rows[0], of_rows[1:, context:].ravel()])[:num_predicted][-text.num_targets :]

    def _score_in_graph(self, ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Returns `-ln p` of the targets of windows `[R, T+1] int32`, `[T, R] float32`, and the next state."""
        logits, state = self._model(ids[:, :-1], state)
        targets = transposed(ids[:, 1:])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits), state


def _num_rows(num_predicted: int) -> int:
    """Returns the number of rows of a text with this number of predicted characters."""
    return 1 if num_predicted < LONG else min(_MOST_ROWS, num_predicted // _ROW)
