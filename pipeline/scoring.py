"""The log likelihood of the texts of a request, in the graph: the signature `score` of the exported artifact.

`evaluation.py` reads one long text instead, window by window.
"""

import tensorflow as tf

from data.vocabulary import Vocabulary
from pipeline import checks
from pipeline.limits import Limits
from pipeline.log_probabilities import log_probability
from pipeline.model import CharRNN

SIGNATURE = (tf.TensorSpec([None], tf.string, 'text'),)


class TextLikelihood:
    """The log likelihood of each of N texts; rows are independent."""

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, limits: Limits):
        self._model = model
        self._vocabulary = vocabulary
        self._limits = limits

    def __call__(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Reads each text from a zero state. The first character is not predicted and not counted.

        Args:
          text: `[N]` string, UTF-8, from two characters to the limit. A new character is read as the unknown character
            if the vocabulary contains that, and is an error otherwise.

        Returns:
          log_likelihood: `[N] float32`, nats, the sum of ln p of the predicted characters.
          num_characters: `[N] int32`, the number of predicted characters: that of the text minus one.
          log_probabilities: `[N, P] float32`, nats, ln p of each predicted character, in the order of the text; 0 after
            the end of a row. P is the largest number of predicted characters.

        Raises:
          InvalidArgumentError (when run): a text is invalid; the message gives the row.
        """
        ids, text_length = self.checked(text)
        stepper, num_predicted = self._model.stepper(), text_length - 1
        num_steps = tf.reduce_max(num_predicted)

        def body(t, state, log_likelihood, log_probabilities):
            state = stepper.read(ids[:, t], state)
            log_p = log_probability(stepper.logits(state), ids[:, t + 1])
            log_p = tf.where(t < num_predicted, log_p, 0.0)
            return t + 1, state, log_likelihood + log_p, log_probabilities.write(t, log_p)

        zeros = tf.zeros(tf.shape(num_predicted))
        log_probabilities = tf.TensorArray(tf.float32, num_steps, element_shape=[None])
        start = (0, self._model.zero_state(tf.shape(ids)[0]), zeros, log_probabilities)
        _, _, log_likelihood, log_probabilities = tf.while_loop(lambda t, *_: t < num_steps, body, start)
        return log_likelihood, num_predicted, tf.transpose(log_probabilities.stack())

    def checked(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Checks the texts; returns their ids `[N, P] int32` and lengths `[N] int32`, which depend on the checks."""
        with tf.control_dependencies(checks.rows('text', text)):
            ids = self._vocabulary.encode_tensor(text, 'text')
        text_length = tf.cast(ids.row_lengths(), tf.int32)
        check = checks.within('text', text_length, 2, self._limits.max_text, counts=True)
        with tf.control_dependencies([check]):
            return ids.to_tensor(), tf.identity(text_length)
