"""How likely texts are, by rows and in the graph: what the exported artifact scores a request with.

`scoring.py` reads one long text instead, window by window, for evaluation.
"""

import tensorflow as tf

from data.vocabulary import Vocabulary
from pipeline import checks
from pipeline.generate import generate_ids
from pipeline.limits import Limits
from pipeline.model import CharRNN

SIGNATURE = (tf.TensorSpec([None], tf.string, 'text'),)


class TextLikelihood(tf.Module):
    """The likelihood of each of N texts, none of which depends on those beside it."""

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, limits: Limits):
        super().__init__()
        self._model = model
        self._vocabulary = vocabulary
        self._limits = limits

    def __call__(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Reads each text from a zero state; its first character, which nothing predicts, is not counted.

        To score is to generate with the choices made already: by the text, all but its first character.

        Args:
          text: `[N]` string, UTF-8, two characters or more, at most the limit. One that the vocabulary has not is read
            as the unknown character where the vocabulary has that, and refused where it has not.

        Returns:
          log_likelihood: `[N] float32`, nats: the sum of ln p of the predicted characters.
          num_characters: `[N] int32`, how many they are: the text's, less one.

        Raises:
          InvalidArgumentError (when run): a text breaks its rule; the message names the row.
        """
        ids, text_length = self.checked(text)
        _, log_likelihood = generate_ids(
            self._model.stepper(),
            self._model.zero_state(tf.shape(ids)[0]),
            ids[:, :1],
            tf.ones_like(text_length),
            text_length - 1,
            lambda logits, position: tf.gather(ids, position + 1, batch_dims=1),
        )
        return log_likelihood, text_length - 1

    def checked(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """All checks of a call: the texts' ids `[N, P] int32` and their lengths `[N] int32`, once they hold."""
        with tf.control_dependencies(checks.rows('text', text)):
            ids = self._vocabulary.encode_tensor(text, 'text')
        text_length = tf.cast(ids.row_lengths(), tf.int32)
        check = checks.within('text', text_length, 2, self._limits.max_text, counts=True)
        with tf.control_dependencies([check]):
            return ids.to_tensor(), tf.identity(text_length)
