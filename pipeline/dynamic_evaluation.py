"""Dynamic evaluation: a model goes on learning from the text that it is evaluated on (Krause et al. 2018).

The text is read in segments. After the characters of a segment are predicted, and so counted, one step of SGD on their
loss changes the weights, with the gradient clipped. So no character is predicted by weights that have seen it.

A step also pulls the weights back to those of training, by a fraction of the distance. Without that, some models drift
away. The fraction was chosen on a validation part of the section's corpus. If the recent characters were predicted
worse than by guessing among all V, the model has lost its way: it begins again with the weights of training and a zero
state. The weights alone would not do: in the state that it is in, those of training can stay as bad.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pipeline.cells import State
from pipeline.dataset import EncodedText
from pipeline.model import CharRNN

RATES = (0.1, 0.3, 1.0, 3.0)
"""Learning rates to choose from, on a text that is not the one reported."""

_SEGMENT = 5  # characters
_SEGMENTS_PER_CALL = 100
_CLIP_NORM = 1.0
_DECAY = 0.003
_RECENT = 10  # segments whose mean loss is compared with ln V


class DynamicScorer:
    """Computes the loss of a model that adapts; the model itself keeps its weights."""

    def __init__(self, model: CharRNN, *, jit: bool = True):
        self._trained = model
        self._model = CharRNN(model.config, model.vocabulary_size)
        self._score = tf.function(self._score_in_graph, jit_compile=jit, autograph=False)

    def losses(self, text: EncodedText, rate: float, before_call: Callable[[], None] = lambda: None) -> np.ndarray:
        """Returns `-ln p` of each target of `text`, `[K] float32`, in nats; see `Scorer.losses`.

        The model begins with its trained weights, and also adapts to the context of the text; `rate` is the learning
        rate.
        """
        self._model.assign(self._trained)
        num_predicted = len(text.ids) - 1
        shape = [_SEGMENTS_PER_CALL, _SEGMENT]
        size = shape[0] * shape[1]
        state, recent, found = self._model.zero_state(1), tf.constant(0.0), []
        for start in range(0, num_predicted, size):
            before_call()
            count = min(size, num_predicted - start)
            ids = text.ids[start : start + count + 1]
            padded = [np.pad(part, (0, size - count)).reshape(shape) for part in (ids[:-1], ids[1:])]
            scalars = tf.constant(count), tf.constant(rate, tf.float32)
            losses, state, recent = self._score(*map(tf.constant, padded), *scalars, state, recent)
            found.append(losses.numpy().ravel()[:count])
        return np.concatenate(found)[-text.num_targets :]

    def _score_in_graph(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        count: tf.Tensor,
        rate: tf.Tensor,
        state: State,
        recent: tf.Tensor,
    ) -> tuple[tf.Tensor, State, tf.Tensor]:
        """Returns the losses of segments `[S, T] int32`, `[S, T]`, and the next state; only `count` targets count.

        `recent []`: an exponential mean of the losses of the segments before; the next one is returned, too.
        """

        def body(s, state, recent, losses):
            with tf.GradientTape() as tape:
                logits, after = self._model(inputs[s][tf.newaxis], state)
                own = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets[s], logits=logits[:, 0])
                counted = tf.range(_SEGMENT) < count - s * _SEGMENT
                loss = tf.reduce_sum(tf.where(counted, own, 0.0)) / _SEGMENT
            gradients = tape.gradient(loss, self._model.trainable_variables)
            gradients, _ = tf.clip_by_global_norm([tf.convert_to_tensor(g) for g in gradients], _CLIP_NORM)
            recent += (loss - recent) / _RECENT
            is_lost = ~(recent <= math.log(self._model.vocabulary_size))  # also if it is not a number
            for variable, gradient, trained in zip(
                self._model.trainable_variables, gradients, self._trained.trainable_variables, strict=True
            ):
                stepped = variable - rate * gradient - _DECAY * (variable - trained)
                variable.assign(tf.where(is_lost, trained, stepped))
            after = tuple(tf.where(is_lost, 0.0, part) for part in after)
            return s + 1, after, tf.where(is_lost, 0.0, recent), losses.write(s, own)

        losses = tf.TensorArray(tf.float32, inputs.shape[0], element_shape=[_SEGMENT])
        _, state, recent, losses = tf.while_loop(lambda s, *_: s < inputs.shape[0], body, (0, state, recent, losses))
        return losses.stack(), state, recent
