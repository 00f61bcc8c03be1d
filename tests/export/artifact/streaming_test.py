"""Streaming: the text of the signature `generate`, to the character, and the server-sent events it comes in."""

import json

import numpy as np
import pytest
import tensorflow as tf

from data.vocabulary import UNKNOWN, Vocabulary
from export.artifact import streaming
from export.artifact.exporter import export
from export.artifact.text_request import TextRequest
from export.client.remote import events
from export.server.errors import ServingError
from export.server.models.servable import Servable
from export.server.rest import streams
from pipeline.config import ModelConfig
from pipeline.generate import SIGNATURE
from pipeline.model import CharRNN

pytestmark = pytest.mark.slow

LENGTH = 25


@pytest.fixture(scope='module')
def servable(model, vocabulary, tmp_path_factory) -> Servable:
    return Servable('small', 1, export(model, vocabulary, tmp_path_factory.mktemp('small'), default_length=LENGTH))


@pytest.fixture(scope='module')
def unknowing(tmp_path_factory) -> Servable:
    """Two layers, two parts of state each, that hold the unknown character for the next nearly always."""
    vocabulary = Vocabulary(f'\n分山开{UNKNOWN}🎵', has_unknown=True)
    config = ModelConfig(cell='lstm', num_layers=2, hidden_size=8, init_scale=0.5)
    model = CharRNN(config, len(vocabulary), seed=4)
    model.b_q.assign(20.0 * tf.one_hot(vocabulary.unknown_id, len(vocabulary)))
    return Servable('unknowing', 7, export(model, vocabulary, tmp_path_factory.mktemp('unknowing'), default_length=9))


def _stream(servable: Servable, **fields) -> tuple[list[dict], dict]:
    """What is sent for each character, and at the end."""
    *added, last = servable.stream(*streams.parse(json.dumps(fields).encode(), servable))
    assert [event['event'] for event in added] == [None] * len(added)
    assert last['event'] == 'done'
    return [event['data'] for event in added], last['data']


def _generated(servable: Servable, prefix: str, lengths: list[int], knobs: dict) -> tuple[list[str], np.ndarray]:
    """What the signature `generate` answers for one prefix and several lengths."""
    knobs = {'temperature': 0.0, 'top_k': 0, 'top_p': 1.0, 'stop': '', 'seed': 0, 'prefix': prefix} | knobs
    columns = {name: [value] * len(lengths) for name, value in knobs.items()} | {'length': lengths}
    answer = servable.call('generate', {spec.name: tf.constant(columns[spec.name], spec.dtype) for spec in SIGNATURE})
    return [text.decode() for text in answer['text'].numpy()], answer['log_likelihood'].numpy()


@pytest.mark.parametrize(
    'knobs',
    [
        {},
        {'temperature': 1.0, 'seed': 3},
        {'temperature': 0.7, 'top_k': 3, 'seed': 2**63 - 1},
        {'temperature': 2.5, 'top_p': 0.9, 'seed': -5},
        {'temperature': 1.3, 'top_k': 9, 'top_p': 0.5, 'seed': 12},
    ],
    ids=str,
)
@pytest.mark.parametrize(('name', 'prefix'), [('servable', '不分开 你'), ('unknowing', '囧分\n')])
def test_characters_and_log_probabilities_equal_generate(request, name, prefix, knobs):
    """The sums of the first n log probabilities are what `generate` gives for n characters."""
    servable = request.getfixturevalue(name)
    added, last = _stream(servable, prefix=prefix, length=LENGTH, **knobs)
    texts, log_likelihoods = _generated(servable, prefix, list(range(LENGTH + 1)), knobs)
    assert [prefix + ''.join(one['text'] for one in added[:n]) for n in range(LENGTH + 1)] == texts
    sums = np.cumsum([0.0, *(one['log_probability'] for one in added)])
    np.testing.assert_allclose(sums, log_likelihoods, rtol=1e-4, atol=1e-5)
    assert last['text'] == texts[-1]
    np.testing.assert_allclose(last['log_likelihood'], sums[-1])


@pytest.mark.parametrize('knobs', [{}, {'temperature': 1.2, 'seed': 3}, {'temperature': 1.0, 'top_p': 0.9}], ids=str)
def test_stream_ends_at_the_stop_as_generate_does(servable, knobs):
    whole = _generated(servable, '不分开', [LENGTH], knobs)[0][0]
    for stop in (whole[5], whole[7:9], whole[20:24], '不分开'):
        added, last = _stream(servable, prefix='不分开', length=LENGTH, stop=stop, **knobs)
        texts, log_likelihoods = _generated(servable, '不分开', [LENGTH], knobs | {'stop': stop})
        assert [last['text']] == texts == ['不分开' + ''.join(one['text'] for one in added)]
        np.testing.assert_allclose([last['log_likelihood']], log_likelihoods, rtol=1e-4)


@pytest.mark.parametrize('name', ['servable', 'unknowing'])
def test_candidates_are_the_most_likely_characters_and_their_probabilities_are_those_of_score(request, name):
    """Each candidate, in place of the chosen character, is scored as a text."""
    servable = request.getfixturevalue(name)
    vocabulary = servable.description['vocabulary'].replace(UNKNOWN, '')
    prefix = vocabulary[:3]
    added, _ = _stream(servable, prefix=prefix, length=4, temperature=1.5, seed=2, candidates=100)
    for one in added:
        texts = [prefix + c for c in vocabulary]
        scored = servable.call('score', {'text': tf.constant(texts)})['log_probabilities'].numpy()
        expected = dict(zip(vocabulary, scored[np.arange(len(texts)), [len(text) - 2 for text in texts]], strict=True))
        found = {candidate['text']: candidate['log_probability'] for candidate in one['candidates']}
        assert found.keys() == expected.keys()
        np.testing.assert_allclose([found[c] for c in vocabulary], [expected[c] for c in vocabulary], rtol=1e-4)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert one['log_probability'] == pytest.approx(found[one['text']], rel=1e-5)
        prefix += one['text']
    few, _ = _stream(servable, prefix=vocabulary[:3], length=4, temperature=1.5, seed=2, candidates=2)
    assert [one['candidates'] for one in few] == [one['candidates'][:2] for one in added]


def test_only_the_prefix_is_required(servable):
    assert len(_stream(servable, prefix='分')[0]) == LENGTH


def test_length_zero_returns_the_prefix(servable):
    assert _stream(servable, prefix='分开', length=0) == ([], {'text': '分开', 'log_likelihood': 0.0})


def test_characters_come_one_by_one(servable, monkeypatch):
    """At the first character, the model has read only the prefix."""
    request, _ = streams.parse('{"prefix": "不分开"}'.encode(), servable)
    read, choose = [], servable._streamer._choose
    monkeypatch.setattr(servable._streamer, '_choose', lambda ids, *rest: read.append(len(ids)) or choose(ids, *rest))
    stream = servable.stream(request)
    next(stream)
    assert read == [3]
    next(stream)
    assert read == [3, 1]


def test_events_that_are_sent_together_are_all_events(servable):
    request, _ = streams.parse('{"prefix": "分", "length": 40}'.encode(), servable)
    stream = servable.stream(request)
    found = [event for some in iter(lambda: streams._ready(stream), []) for event in some]
    assert found == list(servable.stream(request))
    assert len(found) == 41
    limited = iter([{'event': None}] * 100)
    assert len(streams._ready(limited)) <= 32


def test_failure_of_tensorflow_ends_the_stream_with_its_message(servable, monkeypatch):
    """The characters before it arrive."""
    request, _ = streams.parse('{"prefix": "分"}'.encode(), servable)
    choose, calls = servable._streamer._choose, iter(range(9))

    def fail_at_third(*inputs):
        if next(calls) == 2:
            raise tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating')
        return choose(*inputs)

    monkeypatch.setattr(servable._streamer, '_choose', fail_at_third)
    stream = servable.stream(request)
    found = [event for some in iter(lambda: streams._ready(stream), []) for event in some]
    assert [event['event'] for event in found] == [None, None, 'error']
    assert 'OOM' in found[-1]['data']['error']


def test_several_models_do_not_make_tensorflow_warn_of_retracing(caplog):
    """TensorFlow counts the tracings of functions that are defined on one line."""
    tf.get_logger().addHandler(caplog.handler)
    try:
        for size in range(3, 10):
            description = {'vocabulary': 'abcdefghi'[:size], 'unknown_id': None, 'state': {'names': ['s'], 'size': 2}}
            streamer = streaming.Streamer(lambda ids, s: {'logits': tf.one_hot(ids, size), 's': s}, description)  # noqa: B023
            *_, last = streamer.characters(TextRequest('b', 3))
            assert last['data']['text'] == 'bbbb'
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert not caplog.records


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (b'', 'JSON Parse error: The document is empty'),
        (b'\xff', 'JSON Parse error: .*utf-8'),
        (b'[' * 100_000, 'JSON Parse error: nested too deeply'),
        (b'["a"]', r'JSON Value: \["a"\] Is not object'),
        (b'{}', 'prefix is missing; it must be a string'),
        (b'{"prefix": 7}', 'prefix is 7; it must be a string'),
        (rb'{"prefix": "\ud800"}', 'JSON Parse error: .*surrogates not allowed'),
        (b'{"prefix": "a", "lenght": 3}', 'the key "lenght" is not one of prefix, length, .*, stop, seed, candidates'),
        (b'{"prefix": "a", "candidates": 101}', 'candidates is 101; it must be an integer from 0 to 100'),
        (b'{"prefix": "a", "stop": 3}', 'stop is 3; it must be a string'),
        ('{"prefix": "分", "stop": "囧"}'.encode(), r"^stop contains '囧' \(U\+56E7\), which is not among the 24 char"),
        (b'{"prefix": "a", "length": 3.5}', 'length is 3.5; it must be an integer from 0 to 1000'),
        (b'{"prefix": "a", "length": true}', 'length is true; it must be an integer'),
        (b'{"prefix": "a", "length": -1}', 'length is -1; it must be an integer from 0 to 1000'),
        (b'{"prefix": "a", "top_k": 2147483648}', 'top_k is 2147483648; it must be an integer from 0 to 2147483647'),
        (b'{"prefix": "a", "seed": "1"}', 'seed is "1"; it must be an integer from -9223372036854775808 to'),
        (b'{"prefix": "a", "temperature": null}', 'temperature is null; it must be a number'),
        (b'{"prefix": "a", "temperature": 1' + b'0' * 400 + b'}', r'temperature is 10{255}…; it must be a number'),
        ('{"prefix": "囧"}'.encode(), r"^prefix contains '囧' \(U\+56E7\), which is not among the 24 characters"),
        (b'{"prefix": ""}', r'^prefix has 0 characters'),
        ('{"prefix": "分", "temperature": -1}'.encode(), r'^temperature is -1; it must be finite, 0 \(greedy\)'),
        (
            '{"prefix": "分", "temperature": 1e39}'.encode(),
            r'^temperature is 1e\+39; it must be a number that a float32 can hold',
        ),
        ('{"prefix": "分", "temperature": NaN}'.encode(), r'^temperature is NaN; it must be a number'),
        ('{"prefix": "分", "length": 1001}'.encode(), r'^length is 1001; it must be an integer from 0 to 1000'),
        ('{"prefix": "分", "top_p": 0}'.encode(), r'^top_p is 0; it must be above 0'),
    ],
)
def test_invalid_value_is_refused_by_key_and_rule(servable, body, message):
    """What JSON can say wrong, and, in the artifact's own words, what `generate` would refuse."""
    with pytest.raises(ServingError, match=message) as caught:
        streams.parse(body, servable)
    assert caught.value.http_status == 400


def test_model_without_step_cannot_stream(tmp_path):
    module = tf.Module()
    module.half = tf.function(lambda x: {'y': x / 2}, input_signature=[tf.TensorSpec([None], tf.float32, 'x')])
    tf.saved_model.save(module, str(tmp_path), {'serving_default': module.half})
    with pytest.raises(ServingError, match='model half version 3 cannot stream: it needs the signature "step"'):
        streams.parse('{"prefix": "分"}'.encode(), Servable('half', 3, tmp_path))


@pytest.mark.parametrize('text', ['吧', '\n', '\r\n\r\n', '\u2028', '\x85', '🎵', '"data: x"', '\\', ''])
def test_event_is_read_as_it_was_written(text):
    first = {'event': None, 'data': {'text': text, 'log_probability': -0.5}}
    last = {'event': 'done', 'data': {'text': text, 'log_likelihood': -0.5}}
    wire = streams.format_event(first) + streams.format_event(last)
    lines = wire.split(b'\n')  # as bytes: what breaks lines in text need not break them on the wire
    found = list(events(line + b'\n' for line in lines))
    assert found == [('message', first['data']), ('done', last['data'])]
    assert b'\r' not in wire


def test_characters_are_sent_as_utf8_not_as_escapes():
    wire = streams.format_event({'event': None, 'data': {'text': '吧🎵'}})
    assert wire == 'data: {"text": "吧🎵"}\n\n'.encode()
