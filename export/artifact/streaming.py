"""Generates one text character by character, with the signature `step` of an exported model.

The text is that of the signature `generate` for the same knobs and seed: the same random numbers choose among the
logits of `step`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from data.vocabulary import Vocabulary
from export.artifact.description import FORMAT
from export.artifact.text_request import TextRequest
from pipeline.cells import State
from pipeline.generate import mask_unknown, uniform_numbers
from pipeline.samplers import sampler

Step = Callable[..., Mapping[str, tf.Tensor]]
"""The signature `step`: its inputs by keyword -> its outputs by name."""


class Streamer:
    """Streams texts of one model."""

    def __init__(self, step: Step, description: dict):
        """`description` is the charrnn.json of the model."""
        self._step = step
        self._vocabulary = Vocabulary(description['vocabulary'], description['unknown_id'] is not None)
        self._names, size = description['state']['names'], description['state']['size']
        self._zeros = tuple(tf.zeros([1, size]) for _ in self._names)
        row = tf.TensorSpec([1], tf.float32)
        knobs = [tf.TensorSpec([1, 1, 2]), row, tf.TensorSpec([1], tf.int32), row]
        specs = [tf.TensorSpec([None], tf.int32), *knobs, *(tf.TensorSpec([1, size]) for _ in self._names)]
        traced = tf.function(self._choose_in_graph, input_signature=specs, autograph=False)
        self._choose = traced.get_concrete_function()  # else the fifth model makes TensorFlow warn of retracing

    def characters(self, request: TextRequest, num_candidates: int = 0) -> Iterator[dict]:
        """Yields an event for each added character as soon as it is chosen, then one with the whole text.

        `{'event': None, 'data': {'text', 'log_probability', 'candidates'}}`: `log_probability`, in nats, is that of the
        model itself (at temperature 1, without top_k and top_p). `candidates` are the `num_candidates` most likely
        characters, each with `text` and `log_probability`, the most likely first; it is missing if their number is 0.
        `{'event': 'done', 'data': {'text', 'log_likelihood'}}`: `log_likelihood` is the sum, as in `generate`.

        The request must have been checked.
        """
        uniform = uniform_numbers(tf.constant([request.seed], tf.int64), tf.constant(max(request.length, 1))).numpy()
        knobs = tf.constant([request.temperature]), tf.constant([request.top_k]), tf.constant([request.top_p])
        unread, state = tf.constant(self._vocabulary.encode(request.prefix)), self._zeros
        added, log_likelihood = '', 0.0
        while len(added) < request.length and not (request.stop and added.endswith(request.stop)):
            numbers = tf.constant(uniform[:, len(added) : len(added) + 1])
            unread, log_p, of_all, *state = self._choose(unread, numbers, *knobs, *state)
            log_probability = float(log_p.numpy()[0])
            character = self._vocabulary.decode(unread.numpy())
            added, log_likelihood = added + character, log_likelihood + log_probability
            data: dict = {'text': character, 'log_probability': log_probability}
            if num_candidates:
                data['candidates'] = _candidates(of_all.numpy()[0], self._vocabulary, num_candidates)
            yield {'event': None, 'data': data}
        yield {'event': 'done', 'data': {'text': request.prefix + added, 'log_likelihood': log_likelihood}}

    def _choose_in_graph(
        self,
        ids: tf.Tensor,
        uniform: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        *state: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Reads `ids [P] int32`, one or more, and chooses the next character as `generate` does.

        Returns its id `[1] int32`, its ln p `[1]`, nats, ln p of all characters `[1, V]`, and the state after `ids`.
        The unknown character has ln p of minus infinity; the others are not renormalised.
        """

        def read(n: tf.Tensor, logits: tf.Tensor, state: State) -> tuple[tf.Tensor, tf.Tensor, State]:
            outputs = self._step(ids=ids[n : n + 1], **dict(zip(self._names, state, strict=True)))
            after = (tf.ensure_shape(outputs[name], [1, self._zeros[0].shape[1]]) for name in self._names)
            return n + 1, tf.ensure_shape(outputs['logits'], logits.shape), tuple(after)

        start = 0, tf.zeros([1, len(self._vocabulary)]), state
        _, logits, state = tf.while_loop(lambda n, *_: n < tf.size(ids), read, start)
        unknown_id = self._vocabulary.unknown_id
        draw = sampler(uniform, temperature, top_k, top_p)
        chosen = draw(mask_unknown(logits, unknown_id), tf.constant(0))
        log_p = -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=chosen, logits=logits)
        return chosen, log_p, mask_unknown(tf.nn.log_softmax(logits), unknown_id), *state


def has_format(description: Any) -> bool:
    """Returns whether the JSON of a description has the format that this version reads."""
    return isinstance(description, dict) and description.get('format') == FORMAT


def _candidates(log_probabilities: np.ndarray, vocabulary: Vocabulary, count: int) -> list[dict]:
    """Returns the `count` most likely characters, or all that can be generated; the first of ties first."""
    most = len(vocabulary) - (vocabulary.unknown_id is not None)
    ids = np.argsort(-log_probabilities, kind='stable')[: min(count, most)]
    return [{'text': vocabulary.characters[i], 'log_probability': float(log_probabilities[i])} for i in ids]
