"""Generates one text character by character, with the signature `step` of an exported model.

The text is that of the signature `generate` for the same knobs and seed: the same random numbers choose among the
logits of `step`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from data.vocabulary import Vocabulary
from export.artifact.description import FORMAT
from export.artifact.text_request import TextRequest
from pipeline.generate import mask_unknown, uniform_numbers
from pipeline.samplers import sample

Step = Callable[[dict[str, tf.Tensor]], Mapping[str, tf.Tensor]]
"""The signature `step`: its inputs -> its outputs, by name."""


def characters(step: Step, description: dict, request: TextRequest, num_candidates: int = 0) -> Iterator[dict]:
    """Yields an event for each added character as soon as it is chosen, then one with the whole text.

    `{'event': None, 'data': {'text', 'log_probability', 'candidates'}}`: `log_probability`, in nats, is that of the
    model itself (at temperature 1, without top_k and top_p). `candidates` are the `num_candidates` most likely
    characters, each with `text` and `log_probability`, the most likely first; it is missing if their number is 0.
    `{'event': 'done', 'data': {'text', 'log_likelihood'}}`: `log_likelihood` is the sum, as in `generate`.

    `description` is the charrnn.json of the model. The request must have been checked.
    """
    vocabulary = Vocabulary(description['vocabulary'], description['unknown_id'] is not None)
    choose = chooser(len(vocabulary), vocabulary.unknown_id)
    uniform = uniform_numbers(tf.constant([request.seed], tf.int64), tf.constant(max(request.length, 1))).numpy()
    knobs = tf.constant([request.temperature]), tf.constant([request.top_k]), tf.constant([request.top_p])
    names, size = description['state']['names'], description['state']['size']
    state = {name: tf.zeros([1, size]) for name in names}
    unread = [tf.constant([character]) for character in vocabulary.encode(request.prefix)]
    added, log_likelihood = '', 0.0
    while len(added) < request.length and not (request.stop and added.endswith(request.stop)):
        for ids in unread:
            outputs = step({'ids': ids} | state)
            logits, state = outputs['logits'], {name: outputs[name] for name in names}
        chosen, log_p, of_all = choose(logits, tf.constant(uniform[:, len(added)]), *knobs)
        unread, log_probability = [chosen], float(log_p.numpy()[0])
        character = vocabulary.decode(chosen.numpy())
        added, log_likelihood = added + character, log_likelihood + log_probability
        data: dict = {'text': character, 'log_probability': log_probability}
        if num_candidates:
            data['candidates'] = _candidates(of_all.numpy()[0], vocabulary, num_candidates)
        yield {'event': None, 'data': data}
    yield {'event': 'done', 'data': {'text': request.prefix + added, 'log_likelihood': log_likelihood}}


def has_format(description: dict) -> bool:
    """Returns whether a model has a description of the format that this version reads."""
    return description.get('format') == FORMAT


@functools.lru_cache(maxsize=16)
def chooser(size: int, unknown_id: int | None) -> tf.types.experimental.ConcreteFunction:
    """Returns the function that chooses the next character of a row as `generate` does; V is `size`.

    `(logits [1, V], uniform [1], temperature [1], top_k [1], top_p [1]) -> (id [1] int32, its ln p [1], nats, and ln p
    of all characters [1, V])`. The unknown character has ln p of minus infinity; the others are not renormalised.
    """
    row = tf.TensorSpec([1], tf.float32)

    @tf.function(
        input_signature=[tf.TensorSpec([1, size]), row, row, tf.TensorSpec([1], tf.int32), row], autograph=False
    )
    def choose(logits, uniform, temperature, top_k, top_p):
        ids = sample(mask_unknown(logits, unknown_id), uniform, temperature, top_k, top_p)
        log_p = -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits)
        return ids, log_p, mask_unknown(tf.nn.log_softmax(logits), unknown_id)

    return choose.get_concrete_function()  # else the fifth model makes TensorFlow warn of retracing


def _candidates(log_probabilities: np.ndarray, vocabulary: Vocabulary, count: int) -> list[dict]:
    """Returns the `count` most likely characters, or all that can be generated; the first of ties first."""
    most = len(vocabulary) - (vocabulary.unknown_id is not None)
    ids = np.argsort(-log_probabilities, kind='stable')[: min(count, most)]
    return [{'text': vocabulary.characters[i], 'log_probability': float(log_probabilities[i])} for i in ids]
