"""Generation: the loop with a fake model that spells, and the real one alone and in company."""

import re
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from data.vocabulary import UNKNOWN, Vocabulary
from pipeline.config import ModelConfig
from pipeline.generate import SIGNATURE, Generator, Request, generate_ids, uniform_numbers
from pipeline.log_probabilities import log_probability
from pipeline.model import CharRNN, Stepper


def _speller(word: list[int], size: int = 10) -> Stepper:
    """A model that counts, and likes one id of `word` by 3 nats: the first after one character, then the next, ..."""

    def read(ids, state):
        (count,) = state
        return (count + tf.ones_like(ids)[:, tf.newaxis],)

    def logits(state):
        return 3.0 * tf.one_hot(tf.gather(word, (state[0][:, 0] - 1) % len(word)), size)

    return Stepper(read, logits)


def _zero_state(num_rows: int):
    return (tf.zeros([num_rows, 1], tf.int32),)


def _compiled(generator: Generator):
    """Returns the generator for any request, as one function."""
    return tf.function(generator.__call__, input_signature=SIGNATURE, autograph=False)


@pytest.fixture(scope='module')
def compiled(generator):
    return _compiled(generator)


def _greedy(logits, position):
    del position
    return tf.argmax(logits, -1, output_type=tf.int32)


def _request(prefix: list[list[int]], prefix_length: list[int], length: list[int], stop: list[list[int]]) -> Request:
    stops = tf.ragged.constant(stop, tf.int32)
    numbers = map(tf.constant, (prefix, prefix_length, length))
    return Request(*numbers, stops.to_tensor(), tf.cast(stops.row_lengths(), tf.int32))


def test_feeds_the_prefix_and_then_the_chosen_characters():
    """Row by row: prefixes and lengths are ragged, and the state has seen every character of the prefix."""
    request = _request([[1, 0, 0], [1, 2, 3], [1, 2, 0]], [1, 3, 2], [4, 2, 0], [[]] * 3)
    read = []

    def reading(ids, state):
        read.append(ids.numpy().tolist())
        return speller.read(ids, state)

    speller = _speller([7, 8, 9])
    found = generate_ids(Stepper(reading, speller.logits), _zero_state(3), request, _greedy, log_probability)
    # After n characters the model spells word[(n - 1) % 3].
    assert found.ids[0].numpy().tolist() == [7, 8, 9, 7]
    assert found.ids[1, :2].numpy().tolist() == [9, 7]
    assert found.length.numpy().tolist() == [4, 2, 0]
    each = 3.0 - np.log(np.exp(3.0) + 9)
    np.testing.assert_allclose(found.log_likelihood, [4 * each, 2 * each, 0], rtol=1e-5)
    assert [ids[1] for ids in read[:4]] == [1, 2, 3, 9]
    assert [ids[0] for ids in read[2:]] == [1, 7, 8, 9]


def test_loop_ends_when_each_row_has_its_length_or_its_stop():
    """The first row has its stop only in its prefix and across its end, the third meets it twice."""
    request = _request([[8, 9], [1, 1], [1, 0]], [2, 2, 1], [3, 90, 80], [[8, 9, 8], [8, 9], [7]])
    found = generate_ids(_speller([7, 8, 9]), _zero_state(3), request, _greedy, log_probability)
    assert found.ids.numpy().tolist() == [[8, 9, 7], [8, 9, 7], [7, 8, 9]]
    assert found.length.numpy().tolist() == [3, 2, 1]
    np.testing.assert_allclose(found.log_likelihood, found.length.numpy() * (3.0 - np.log(np.exp(3.0) + 9)), rtol=1e-5)


def test_chooses_by_the_position_among_the_added_characters():
    request = _request([[1, 0], [1, 2]], [1, 2], [3, 3], [[]] * 2)

    def count(logits, position):
        return tf.fill([2], position + 4)

    found = generate_ids(_speller([0]), _zero_state(2), request, count, log_probability)
    assert found.ids.numpy().tolist() == [[4, 5, 6], [4, 5, 6]]


def test_loops_have_only_what_they_need(generator):
    """The output layer, half of the time of a step, is not in the loop over the prefix.

    A greedy loop looks for the most likely character once.
    """
    graph = tf.function(partial(generator, sampled=False, with_stop=False)).get_concrete_function(*SIGNATURE).graph
    loops = {
        tuple(sum(node.op == op for node in function.node_def) for op in ('MatMul', 'ArgMax'))
        for function in graph.as_graph_def().library.function
        if re.match('.*while.*body', function.signature.name)
    }
    assert loops == {(1, 0), (2, 1)}


def test_stop_is_ignored_if_there_is_to_be_none():
    request = _request([[1], [1]], [1, 1], [4, 2], [[8], [9]])
    found = generate_ids(_speller([7, 8, 9]), _zero_state(2), request, _greedy, log_probability, with_stop=False)
    assert found.ids[0].numpy().tolist() == [7, 8, 9, 7]
    assert found.length.numpy().tolist() == [4, 2]


def test_longer_row_of_random_numbers_starts_with_the_shorter():
    seeds = tf.constant([5, 6, 5, -1], tf.int64)
    long, short = uniform_numbers(seeds, 1000), uniform_numbers(seeds, 7)
    assert long.shape == (4, 1000, 2)
    np.testing.assert_array_equal(long[:, :7], short)
    np.testing.assert_array_equal(long[0], long[2])
    assert np.unique(long).size > 5980
    assert 0.45 < np.mean(long) < 0.55
    assert np.min(long) >= 0
    assert np.max(long) < 1
    assert uniform_numbers(seeds[:0], 7).shape == (0, 7, 2)


def test_greedy_text_equals_a_plain_loop_over_the_model(generator, model, vocabulary):
    prefix, length = '不分开 你', 12
    state, text = model.zero_state(1), prefix
    for character in prefix:
        logits, state = model.step(tf.constant(vocabulary.encode(character)), state)
    for _ in range(length):
        text += vocabulary.decode(tf.argmax(logits, -1).numpy())
        logits, state = model.step(tf.constant(vocabulary.encode(text[-1])), state)
    assert generator.texts([prefix], length) == [text]


def test_log_likelihood_does_not_depend_on_the_knobs(generator, model, vocabulary):
    """At temperature 2 with top_k, but scored at temperature 1 without: by reading the finished text."""
    text, log_likelihood = generator(*_rows(['分开 '], 15, temperature=2.0, top_k=9))
    ids = vocabulary.encode(text.numpy()[0].decode())
    logits, _ = model(tf.constant(ids[np.newaxis, :-1]), model.zero_state(1))
    log_p = tf.nn.log_softmax(logits[:, 0]).numpy()[np.arange(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(log_likelihood, [log_p[-15:].sum()], rtol=1e-4)


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_row_in_a_batch_equals_the_row_alone(generator, temperature):
    prefixes = ['分', '不分开', '山一程 水一程 风', '你在河这边 我在河那边 雪', '灯']
    together = generator.texts(prefixes, 30, temperature=temperature, top_k=8, seed=11)
    alone = [generator.texts([p], 30, temperature=temperature, top_k=8, seed=11 + n)[0] for n, p in enumerate(prefixes)]
    assert together == alone


@pytest.mark.parametrize('num_rows', [16, 33])
def test_rows_of_two_groups_equal_the_rows_alone(compiled, num_rows):
    """From 16 rows on there are two loops; here the rows of one have short texts, and some rows have a stop."""
    prefixes = [('分', '不分开', '山一程 水一程')[n % 3] for n in range(num_rows)]
    lengths = [20 if n < num_rows // 2 else 3 for n in range(num_rows)]
    stops = [' ' if n % 5 == 0 else '' for n in range(num_rows)]
    rows = [
        tf.constant(column) for column in (prefixes, lengths, [1.0] * num_rows, [8] * num_rows, [0.9] * num_rows, stops)
    ] + [tf.range(num_rows, dtype=tf.int64)]
    texts, log_likelihoods = compiled(*rows)
    for n in range(num_rows):
        [text], [log_likelihood] = compiled(*(column[n : n + 1] for column in rows))
        assert texts[n] == text
        np.testing.assert_allclose(log_likelihoods[n], log_likelihood, rtol=1e-5)


@pytest.mark.parametrize(('num_rows', 'sizes'), [(1, [1]), (15, [15]), (16, [8, 8]), (33, [17, 16])])
def test_rows_are_divided_in_two_from_16_on(generator, monkeypatch, num_rows, sizes):
    def size_of_group(self, stepper, request, *others, **known):
        del self, stepper, others, known
        size = tf.shape(request.length)[0]
        return tf.fill([size], tf.strings.as_string(size)), tf.zeros([size])

    monkeypatch.setattr(Generator, '_continued', size_of_group)
    texts, _ = generator(*_rows(['分'] * num_rows, 1))
    assert [text.decode() for text in texts.numpy()] == [f'分{size}' for size in sizes for _ in range(size)]


def test_seed_determines_the_sampled_text(generator):
    first, same, other = (generator.texts(['分开'], 40, temperature=1.0, seed=seed)[0] for seed in (1, 1, 2))
    assert first == same != other


def test_longer_text_starts_with_the_shorter(generator):
    short, long = (generator.texts(['分开'], length, temperature=1.0, seed=4)[0] for length in (10, 50))
    assert long.startswith(short)
    assert len(short) == 12
    assert len(long) == 52


def test_length_zero_returns_the_prefix(generator):
    assert generator.texts(['分开', '山'], 0) == ['分开', '山']


@pytest.mark.parametrize('sampled', [False, True])
@pytest.mark.parametrize('with_stop', [False, True])
def test_loop_has_only_what_its_rows_ask_for(generator, sampled, with_stop):
    """An unused sampler takes almost as long as a step of a small model, and the search for a stop half as long."""
    generate = tf.function(partial(generator, sampled=sampled, with_stop=with_stop))
    graph = generate.get_concrete_function(*SIGNATURE).graph.as_graph_def()
    operations = {
        f'{node.op} in {function.signature.name}' for function in graph.library.function for node in function.node_def
    }
    assert any(name.startswith('MatMul in while_') for name in operations)
    assert any(name.startswith('TopKV2 ') for name in operations) == sampled
    assert any(re.match('All in while_.*body', name) for name in operations) == with_stop


@pytest.mark.parametrize('sampled', [False, True])
def test_state_of_a_step_waits_beside_a_sampler_only(generator, sampled):
    """Otherwise another thread is woken for the next step: slower beside a sampler, faster without one."""
    generate = tf.function(partial(generator, sampled=sampled, with_stop=False))
    graph = generate.get_concrete_function(*SIGNATURE).graph.as_graph_def()
    bodies = [f.node_def for f in graph.library.function if re.match('.*while_.*body', f.signature.name)]
    [body] = [nodes for nodes in bodies if any(node.op == 'ArgMax' for node in nodes)]
    waiting = [node for node in body if node.op == 'Identity' and node.input[-1].startswith('^')]
    floats = [node for node in waiting if node.attr['T'].type == tf.float32.as_datatype_enum]
    assert len(floats) == 1 + sampled  # the state as a result of the body, and before that


def test_other_branches_of_a_request_are_not_inlined(compiled):
    """TensorFlow would pass through their operations.

    Two differ by the sampler, and each has two by the stop. The sampler of two of them has a second draw.
    """
    functions = compiled.get_concrete_function().graph.as_graph_def().library.function
    names = {function.signature.name for function in functions if function.attr['_noinline'].b}
    assert len(names) == 2 + 2 * 2 + 2


@pytest.mark.parametrize('temperature', [0.0, 0.5])
def test_texts_compile_one_loop_once_for_all_requests(model, vocabulary, temperature):
    generator = Generator(model, vocabulary)
    for prefixes, length in ((['分'], 1), (['分开', '山'], 7), (['不分开'] * 5, 0)):
        generator.texts(prefixes, length, temperature=temperature)
    counts = {sampled: one.experimental_get_tracing_count() for sampled, one in generator._compiled.items()}
    assert counts == {False: temperature == 0, True: temperature > 0}


@pytest.fixture(scope='module', params=['分山开\ufffd', '\ufffd🎵𠮷'])
def unknowing(request) -> Generator:
    """A generator whose model holds the unknown character, the last or first of its ids, for the next nearly always."""
    vocabulary = Vocabulary(request.param, has_unknown=True)
    model = CharRNN(ModelConfig(hidden_size=8, init_scale=0.5), len(vocabulary))
    model.b_q.assign(200.0 * tf.one_hot(vocabulary.unknown_id, len(vocabulary)))
    return Generator(model, vocabulary)


@pytest.mark.parametrize(
    'knobs',
    [
        {},
        {'temperature': 1.0},
        {'temperature': 1e-30},
        {'temperature': 50.0},
        {'temperature': 1.0, 'top_k': 1},
        {'temperature': 1.0, 'top_k': 99},
        {'temperature': 1.0, 'top_p': 0.01},
        {'temperature': 1.0, 'top_p': 0.999},
        {'temperature': 2.0, 'top_k': 3, 'top_p': 0.9},
    ],
    ids=str,
)
def test_unknown_character_is_read_and_never_generated(unknowing, knobs):
    """The prefix comes back as it was; of what follows, any share that a knob keeps is of the other characters."""
    known = unknowing.vocabulary.characters.replace(UNKNOWN, '')
    texts = unknowing.texts(['囧', f'{known[0]}a'] * 10, 40, **knobs)
    assert {text[: len(text) - 40] for text in texts} == {'囧', f'{known[0]}a'}
    assert set(''.join(text[-40:] for text in texts)) <= set(known)


def test_log_likelihood_is_not_renormalised_after_masking(unknowing):
    """It is what reading the finished text gives. In float32 the probabilities of the others are 0."""
    (text,), (log_likelihood,) = unknowing(*_rows(['囧'], 1))
    logits, _ = unknowing.model.step(tf.constant([unknowing.vocabulary.unknown_id]), unknowing.model.zero_state(1))
    (added,) = unknowing.vocabulary.encode(text.numpy().decode()[-1])
    np.testing.assert_allclose(log_likelihood, tf.nn.log_softmax(logits)[0, added], rtol=1e-5)
    assert log_likelihood < -150


def test_stop_that_cannot_be_generated_is_refused(unknowing):
    for stop in ('囧', UNKNOWN):
        rows = dict(zip([spec.name for spec in SIGNATURE], _rows(['分', '开'], 2), strict=True))
        rows['stop'] = tf.constant(['', stop])
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r'stop\[1\] has 1 characters that the model cannot gen'
        ):
            unknowing(**rows)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(3))
def test_text_with_a_stop_is_the_text_without_cut_after_its_first_occurrence(seed):
    """100 rows of a random model: the stops are short strings of its few characters, so that many occur."""
    random = np.random.default_rng(seed)
    vocabulary = Vocabulary('ab开🎵'[: 2 + seed])
    config = ModelConfig(cell=('rnn', 'gru', 'lstm')[seed], hidden_size=6, init_scale=1.0)
    model, rows = CharRNN(config, len(vocabulary), seed), 100

    def strings(shortest: int, longest: int) -> list[str]:
        lengths = random.integers(shortest, longest + 1, rows)
        return [''.join(random.choice(list(vocabulary.characters), n)) for n in lengths]

    inputs = {
        'prefix': tf.constant(strings(1, 6)),
        'length': tf.constant(random.integers(0, 30, rows), tf.int32),
        'temperature': tf.constant(random.choice([0.0, 0.5, 1.0, 3.0], rows), tf.float32),
        'top_k': tf.constant(random.integers(0, 4, rows), tf.int32),
        'top_p': tf.constant(random.choice([0.5, 0.9, 1.0], rows), tf.float32),
        'stop': tf.constant(strings(0, 4)),
        'seed': tf.constant(random.integers(-9, 9, rows), tf.int64),
    }
    compiled = _compiled(Generator(model, vocabulary))
    whole, _ = compiled(**inputs | {'stop': tf.fill([rows], '')})
    texts, log_likelihood = compiled(**inputs)
    expected = []
    for prefix, stop, text in zip(inputs['prefix'].numpy(), inputs['stop'].numpy(), whole.numpy(), strict=True):
        added = text[len(prefix) :]
        cut = added.find(stop) + len(stop) if stop and stop in added else len(added)
        expected.append(prefix + added[:cut])
    assert texts.numpy().tolist() == expected
    assert 10 < sum(text != uncut for text, uncut in zip(expected, whole.numpy(), strict=True)) < 90
    encoded = [vocabulary.encode(text.decode()) for text in expected]
    padded = np.array([np.pad(ids, (0, 40 - len(ids))) for ids in encoded])
    log_p = tf.nn.log_softmax(model(tf.constant(padded), model.zero_state(rows))[0]).numpy()
    for row, ids in enumerate(encoded):
        first = len(inputs['prefix'].numpy()[row].decode()) - 1
        of_each = log_p[np.arange(len(ids) - 1), row, ids[1:]][first:]
        np.testing.assert_allclose(log_likelihood[row], of_each.sum(), rtol=1e-4, atol=1e-4)
        if row % 5 == 0:
            (alone,), _ = compiled(**{name: value[row : row + 1] for name, value in inputs.items()})
            assert alone == expected[row]


def test_invalid_utf8_in_a_prefix_is_not_read_as_unknown(unknowing):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'prefix\[1\] is not valid UTF-8'):
        unknowing(*_rows(['分', b'\xff'], 0))


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        ({'prefix': ['分', '']}, r'prefix\[1\] has 0 characters; it must have 1 or more'),
        ({'prefix': ['分', '囧']}, r'prefix\[1\] contains .*囧.* \(U\+56E7\), which is not among the 24 characters'),
        ({'length': [3, -1]}, r'length\[1\] is -1; it must be 0 or more'),
        ({'temperature': [-0.5, 1]}, r'temperature\[0\] is -0.5; it must be finite, 0 \(greedy\) or more'),
        ({'temperature': [1, float('nan')]}, r'temperature\[1\] is nan'),
        ({'temperature': [1, float('inf')]}, r'temperature\[1\] is inf'),
        ({'top_k': [0, -2]}, r'top_k\[1\] is -2; it must be 0 \(off\) or more'),
        ({'top_p': [0, 1]}, r'top_p\[0\] is 0; it must be above 0 and at most 1 \(off\)'),
        ({'top_p': [1, 1.5]}, r'top_p\[1\] is 1.5'),
        ({'top_p': [1, float('nan')]}, r'top_p\[1\] is nan'),
        ({'stop': ['', b'\xff']}, r'stop\[1\] is not valid UTF-8'),
        ({'stop': ['分囧', '']}, r'stop\[0\] contains .*囧.* \(U\+56E7\), which is not among the 24 characters'),
        ({'seed': [1, 2, 3]}, r'seed has 3 rows and prefix 2; give both the same number'),
        ({'prefix': []}, r'prefix has no row; give one or more'),
    ],
)
def test_bad_row_is_refused_and_named(compiled, broken, message):
    rows = dict(zip([spec.name for spec in SIGNATURE], _rows(['分', '开'], 2), strict=True))
    rows |= {name: tf.constant(value, rows[name].dtype) for name, value in broken.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        compiled(**rows)


def _rows(prefixes, length, temperature=0.0, top_k=0, top_p=1.0, seed=0):
    n = len(prefixes)
    return (
        tf.constant(prefixes, tf.string),
        tf.fill([n], length),
        tf.fill([n], temperature),
        tf.fill([n], top_k),
        tf.fill([n], top_p),
        tf.fill([n], ''),
        tf.fill([n], tf.constant(seed, tf.int64)),
    )
