"""Generates one text character by character, with the signature `step` of a servable.

The text is that of the signature `generate` for the same knobs and seed: the same random numbers choose among the
logits of `step`.
"""

import collections
import functools
from collections.abc import Iterator

import tensorflow as tf

from data.vocabulary import Vocabulary
from export.artifact.text_request import TextRequest
from export.server.models.servable import Servable
from pipeline.generate import mask_unknown, uniform_numbers
from pipeline.samplers import sample


def characters(servable: Servable, request: TextRequest) -> Iterator[dict]:
    """Yields an event for each added character as soon as it is chosen, then one with the whole text.

    `{'event': None, 'data': {'text', 'log_probability'}}`: `log_probability`, in nats, is that of the model itself (at
    temperature 1, without top_k and top_p). `{'event': 'done', 'data': {'text', 'log_likelihood'}}`: `log_likelihood`
    is the sum, as in `generate`. The servable must be able to stream, and the request must have been checked.
    """
    description = servable.description
    vocabulary = Vocabulary(description['vocabulary'], description['unknown_id'] is not None)
    choose = chooser(len(vocabulary), description['unknown_id'])
    uniform = uniform_numbers(tf.constant([request.seed], tf.int64), tf.constant(max(request.length, 1)))
    knobs = tf.constant([request.temperature]), tf.constant([request.top_k]), tf.constant([request.top_p])
    state = _zero_state(description)
    unread, text, log_likelihood = vocabulary.encode(request.prefix), request.prefix, 0.0
    for position in range(request.length):
        for character in unread:
            logits, state = _step(servable, tf.constant([character]), state)
        chosen, log_p = choose(logits, uniform[:, position], *knobs)
        unread, log_probability = chosen.numpy(), float(log_p.numpy()[0])
        added = vocabulary.decode(unread)
        text, log_likelihood = text + added, log_likelihood + log_probability
        yield {'event': None, 'data': {'text': added, 'log_probability': log_probability}}
    yield {'event': 'done', 'data': {'text': text, 'log_likelihood': log_likelihood}}


def warm_up(servable: Servable) -> None:
    """Runs a short stream, so that the first request does not wait for tracing; nothing if the model cannot stream."""
    if servable.can_stream:
        first = servable.description['vocabulary'][0]
        collections.deque(characters(servable, TextRequest(first, length=2, temperature=1.0, top_k=1)), maxlen=0)


@functools.lru_cache(maxsize=16)
def chooser(size: int, unknown_id: int | None) -> tf.types.experimental.ConcreteFunction:
    """Returns the function that chooses the next character of a row as `generate` does; V is `size`.

    `(logits [1, V], uniform [1], temperature [1], top_k [1], top_p [1]) -> (id [1] int32, ln p [1], nats)`.
    """
    row = tf.TensorSpec([1], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([1, size]), row, row, tf.TensorSpec([1], tf.int32), row])
    def choose(logits, uniform, temperature, top_k, top_p):
        ids = sample(mask_unknown(logits, unknown_id), uniform, temperature, top_k, top_p)
        return ids, -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits)

    return choose.get_concrete_function()  # else the fifth model makes TensorFlow warn of retracing


def _zero_state(description: dict) -> dict[str, tf.Tensor]:
    """Returns the state before the first character, by name."""
    return {name: tf.zeros([1, description['state']['size']]) for name in description['state']['names']}


def _step(servable: Servable, ids: tf.Tensor, state: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Reads one character, `[1] int32`; returns logits `[1, V]` and the new state."""
    outputs = servable.call('step', {'ids': ids} | state)
    return outputs['logits'], {name: outputs[name] for name in state}
