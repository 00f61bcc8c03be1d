"""`POST /v1/models/NAME:generate_stream`: one text as server-sent events, a character at a time. An addition of ours.

The text is what the signature `generate` gives for the same knobs and seed: the same random numbers choose among the
logits of the signature `step`, and the artifact's own check refuses what `generate` would refuse.
"""

import collections
import functools
import json
from collections.abc import Iterator

import tensorflow as tf

from data.vocabulary import Vocabulary
from export.artifact.text_request import TextRequest
from export.server import errors
from export.server.models.servable import Servable
from pipeline.generate import SIGNATURE, mask_unknown, uniform_numbers
from pipeline.samplers import sample

_DTYPES = {spec.name: spec.dtype for spec in SIGNATURE}
_DEFAULTS = {'temperature': 0.0, 'top_k': 0, 'top_p': 1.0, 'seed': 0}
_DONE = 'done'


def parse(body: bytes, servable: Servable) -> TextRequest:
    """The request in a body: a JSON object with `prefix`, and any of the knobs of `generate`, of one text each.

    Raises:
      ServingError: the model cannot stream, the body is no such object, or the model refuses a value.
    """
    description = _description(servable)
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError too
        raise errors.invalid(f'the body must be a JSON object in UTF-8: {error}') from error
    if not isinstance(fields, dict):
        raise errors.invalid(f'the body must be a JSON object as {{"prefix": "分开"}}, and is {_shown(fields)}')
    unknown = [name for name in fields if name not in _DTYPES]
    if unknown:
        raise errors.invalid(f'the key {_shown(unknown[0])} is not one of {", ".join(_DTYPES)}')
    if 'prefix' not in fields:
        raise errors.invalid('prefix is missing; it must be a string, what the text begins with')
    knobs = {'length': description['default_length']} | _DEFAULTS | fields
    request = TextRequest(**{name: _valid(name, value) for name, value in knobs.items()})
    servable.check('generate', {name: tf.constant([getattr(request, name)], dtype) for name, dtype in _DTYPES.items()})
    return request


def characters(servable: Servable, request: TextRequest) -> Iterator[dict]:
    """The events of a text: `{'event': None, 'data': {'text', 'log_probability'}}` for each added character as soon as
    it is chosen, at last `{'event': 'done', 'data': {'text', 'log_likelihood'}}` with the whole text.

    `log_probability`, nats, is the model's own (at temperature 1, without top_k and top_p), and `log_likelihood` their
    sum, as of `generate`.
    """
    description = _description(servable)
    vocabulary = Vocabulary(description['vocabulary'])
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
    yield {'event': _DONE, 'data': {'text': text, 'log_likelihood': log_likelihood}}


def warm_up(servable: Servable) -> None:
    """Does what the first stream of a model that can stream would wait for."""
    if servable.description is not None and 'step' in servable.signatures:
        first = servable.description['vocabulary'][0]
        collections.deque(characters(servable, TextRequest(first, length=2, temperature=1.0, top_k=1)), maxlen=0)


def format_event(event: dict) -> bytes:
    """`{'event': name or None, 'data': …}` as a server-sent event; JSON has no line break that could end it early."""
    name = f'event: {event["event"]}\n' if event['event'] else ''
    return f'{name}data: {json.dumps(event["data"], ensure_ascii=False)}\n\n'.encode()


@functools.lru_cache(maxsize=16)
def chooser(size: int, unknown_id: int | None) -> tf.types.experimental.PolymorphicFunction:
    """What draws a row's next character as `generate` does, for a vocabulary of `size`; see `samplers.sample`.

    `(logits [1, V], uniform [1], temperature [1], top_k [1], top_p [1]) -> (id [1] int32, ln p [1], nats)`.
    """
    row = tf.TensorSpec([1], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([1, size]), row, row, tf.TensorSpec([1], tf.int32), row])
    def choose(logits, uniform, temperature, top_k, top_p):
        ids = sample(mask_unknown(logits, unknown_id), uniform, temperature, top_k, top_p)
        return ids, -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits)

    return choose


def _description(servable: Servable) -> dict:
    """What the model says of itself. Raises `ServingError` where it has not what streaming needs."""
    if servable.description is None or 'step' not in servable.signatures:
        lacks = 'signature "step"' if 'step' not in servable.signatures else 'assets.extra/charrnn.json'
        raise errors.invalid(
            f'model {servable.name} version {servable.version} cannot stream: it has no {lacks}. Export it again with '
            f'python -m export.saved_model, or ask :predict'
        )
    return servable.description


def _valid(name: str, value: object) -> str | int | float:
    """`value` as the type of the input `name`. Raises `ServingError` where it is another or does not fit."""
    dtype = _DTYPES[name]
    if dtype == tf.string:
        # JSON can write half of a surrogate pair, and UTF-8 cannot.
        valid, rule = (
            isinstance(value, str) and not any('\ud800' <= c <= '\udfff' for c in value),
            'a string',
        )
    elif dtype.is_integer:
        valid = type(value) is int and dtype.min <= value <= dtype.max
        rule = f'an integer from {dtype.min} to {dtype.max}'
    else:
        valid = type(value) is float or (type(value) is int and abs(value) <= float(dtype.max))
        rule = 'a number'
    if not valid:
        raise errors.invalid(f'{name} is {_shown(value)}; it must be {rule}')
    return float(value) if dtype.is_floating else value


def _shown(value: object) -> str:
    """As JSON, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f'{text[:60]}…'


def _zero_state(description: dict) -> dict[str, tf.Tensor]:
    """The state before the first character, by name."""
    return {name: tf.zeros([1, description['state']['size']]) for name in description['state']['names']}


def _step(servable: Servable, ids: tf.Tensor, state: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Reads one character, `[1] int32`: logits `[1, V]` and the state after it."""
    outputs = servable.call('step', {'ids': ids} | state)
    return outputs['logits'], {name: outputs[name] for name in state}
