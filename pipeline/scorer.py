"""The losses of a model on a long text, which it reads as one stream, window by window."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pipeline.dataset import EncodedText
from pipeline.model import CharRNN, State, transposed
from pipeline.perplexity import mean

WINDOW = 1000  # characters per call: enough to hide its overhead, few enough for the logits [T, 1, V]


class Scorer:
    """Computes the loss of a model on texts with its current weights."""

    def __init__(self, model: CharRNN, *, window: int = WINDOW, jit: bool = True):
        """`window`: characters per compiled call; it affects only the speed."""
        self._model = model
        self._window = window
        self._score = tf.function(self._score_in_graph, jit_compile=jit)

    def nats(self, text: EncodedText, before_call: Callable[[], None] = lambda: None) -> float:
        """Returns the mean of `-ln p` over the targets of `text`, in nats per character.

        `before_call` is called before each window; an exception that it raises ends the evaluation.
        """
        return mean(self.losses(text, before_call))

    def losses(self, text: EncodedText, before_call: Callable[[], None] = lambda: None) -> np.ndarray:
        """Returns `-ln p` of each target of `text`, `[K] float32`, in nats; see `nats`.

        The state is zero before the first character and is carried across the ends of windows.
        """
        num_predicted = len(text.ids) - 1
        window = min(self._window, num_predicted)
        state, losses = self._model.zero_state(1), []
        for start in range(0, num_predicted, window):
            before_call()
            part = text.ids[start : start + window + 1]
            # The last window is padded, so that all windows have one shape; the padding is not counted.
            padded = np.pad(part, (0, window + 1 - len(part)))
            found, state = self._score(tf.constant(padded[np.newaxis]), state)
            losses.append(found[: len(part) - 1])
        return np.concatenate(losses)[-len(text.targets) :]

    def _score_in_graph(self, ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Returns `-ln p` of the targets of a window `[1, T+1] int32`, `[T] float32`, and the next state."""
        logits, state = self._model(ids[:, :-1], state)
        targets = transposed(ids[:, 1:])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)[:, 0], state
