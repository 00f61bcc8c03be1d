"""Characters <-> ids: the graph does what Python does, and an unknown character is named by both."""

import collections
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from data.vocabulary import ABSENT, Vocabulary
from export.artifact.assertions import sentence

# In the order of their code points: U+000A, U+0020, U+0061, U+4E0D, U+5206, U+5F00, U+FF01, U+1F3B5, U+20BB7, U+10FFFD.
CHARACTERS = '\n a不分开！🎵𠮷\U0010fffd'
VOCABULARY = Vocabulary(CHARACTERS)

# Text -> ids, by hand.
ENCODED = {
    '分开': [4, 5],
    '不分开！': [3, 4, 5, 6],
    '': [],
    '🎵a 𠮷\n\U0010fffd': [7, 2, 1, 8, 0, 9],
}

# An unknown character stands before all, among or after the known ones, in code points of four to six digits.
UNKNOWN = [('\t', '0009'), ('囧', '56E7'), ('😀', '1F600'), ('𠀀', '20000'), ('\U0010ffff', '10FFFF')]
NOT_AMONG = 'which is not among the 10 characters this model was trained on'


def _encode_in_graph(texts: list[str], vocabulary: Vocabulary = VOCABULARY) -> tf.RaggedTensor:
    encode = tf.function(
        lambda text: vocabulary.encode_tensor(text, 'prefix'), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    return encode(tf.constant(texts, tf.string))


def test_characters_are_in_the_order_of_their_code_points():
    assert Vocabulary.from_text('🎵开分a 不a！\n分𠮷\U0010fffd').characters == CHARACTERS


def test_length_is_the_number_of_distinct_characters():
    assert len(Vocabulary.from_text('abracadabra')) == 5


def test_same_characters_are_the_same_vocabulary():
    assert Vocabulary.from_text('分开不') == Vocabulary.from_text('不分开不')


@pytest.mark.parametrize(('text', 'ids'), ENCODED.items())
def test_encode_returns_the_index_of_each_character(text, ids):
    encoded = VOCABULARY.encode(text)
    assert encoded.dtype == np.int32
    assert encoded.tolist() == ids


@pytest.mark.parametrize('text', ENCODED)
def test_decode_undoes_encode(text):
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == text


@pytest.mark.parametrize('texts', [list(ENCODED), ['分开'], ['', ''], []])
def test_encoding_in_the_graph_equals_python(texts):
    ids = _encode_in_graph(texts)
    assert ids.dtype == tf.int32
    assert ids.to_list() == [ENCODED[t] for t in texts]


def test_decoding_in_the_graph_equals_python():
    decode = tf.function(
        VOCABULARY.decode_tensor,
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)],
    )
    rows = [ids + [9] * (6 - len(ids)) for ids in ENCODED.values()]  # what stands after the length is not text
    texts = decode(tf.constant(rows), tf.constant([len(ids) for ids in ENCODED.values()]))
    assert [text.decode() for text in texts.numpy()] == list(ENCODED)


@pytest.mark.parametrize(('character', 'point'), UNKNOWN)
def test_unknown_character_is_named(character, point):
    with pytest.raises(InputError) as caught:
        VOCABULARY.encode(f'分{character}开', 'prefixes[1]')
    shown = {'\t': '\\t', '\U0010ffff': '\\U0010ffff'}.get(character, character)
    assert str(caught.value) == f"prefixes[1] contains '{shown}' (U+{point}), {NOT_AMONG}."


@pytest.mark.parametrize(('character', 'point'), UNKNOWN)
def test_unknown_character_is_named_in_the_graph(character, point):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        _encode_in_graph(['分开', '', f'开{character}分', '分囧'])
    # TensorFlow shows a string as C would: with a backslash before each quotation mark and for a tab.
    message = caught.value.message.replace("\\'", "'").replace('\\t', '\t')
    assert f"prefix[2] contains '{character}' (U+{point}), {NOT_AMONG}" in message


def test_line_break_that_is_not_known_is_named_in_one_line():
    with pytest.raises(InputError) as caught:
        Vocabulary('ab').encode('\n', 'prefix')
    assert str(caught.value) == (
        r"prefix contains '\n' (U+000A), which is not among the 2 characters this model was trained on. "
        'A model that is trained with --newlines=keep knows the line breaks of its text.'
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as in_graph:
        _encode_in_graph(['a', '\n'], vocabulary=Vocabulary('ab'))
    assert r"prefix[1] contains '\n' (U+000A), which is not among" in sentence(in_graph.value.message)


def test_first_of_many_unknown_characters_is_named():
    with pytest.raises(InputError, match='U\\+56E7'):
        VOCABULARY.encode('分囧x😀')
    with pytest.raises(tf.errors.InvalidArgumentError, match='U\\+56E7'):
        _encode_in_graph(['分', '囧x', '😀'])


@pytest.mark.parametrize('characters', ['', 'ba', 'aab', '分不', '🎵！'])
def test_vocabulary_must_be_distinct_and_in_order(characters):
    with pytest.raises(InputError, match='distinct characters in sorted order') as caught:
        Vocabulary(characters)
    assert repr(characters) in str(caught.value)


def test_rare_characters_become_the_unknown_character():
    vocabulary = Vocabulary.from_text('分开分开山', min_count=2)
    assert vocabulary.characters == '分开\ufffd'
    assert vocabulary.encode('山分囧').tolist() == [2, 0, 2]
    assert vocabulary.decode(vocabulary.encode('山分')) == '\ufffd分'


def test_min_count_above_one_always_adds_the_unknown_character():
    assert Vocabulary.from_text('分开分开', min_count=2).characters == '分开\ufffd'
    assert Vocabulary.from_text('分开分开').unknown_id is None


def test_replacement_character_of_the_corpus_is_an_ordinary_character():
    """Without min_count, no character is read as another one, and each character of the text can be generated."""
    vocabulary = Vocabulary.from_text('分开\ufffd')
    assert vocabulary.unknown_id is None
    assert vocabulary.encode('\ufffd分').tolist() == [2, 0]
    with pytest.raises(InputError, match='囧'):
        vocabulary.encode('囧')


def test_unknown_character_must_be_in_the_vocabulary():
    with pytest.raises(InputError, match=r'must contain U\+FFFD'):
        Vocabulary('分开', has_unknown=True)


@pytest.mark.parametrize(('known', 'given', 'form'), [('NFC', 'NFD', 'NFC'), ('NFD', 'NFC', 'NFD')])
def test_text_in_another_normal_form_gets_a_hint(known, given, form):
    vocabulary = Vocabulary.from_text(unicodedata.normalize(known, 'café'))
    with pytest.raises(InputError, match=f'the model knows the other one: write it in {form}'):
        vocabulary.encode(unicodedata.normalize(given, 'café'))


@pytest.mark.parametrize(
    ('character', 'shown'),
    [
        ('囧', "'囧' (U+56E7), which"),
        ('\u0301', 'U+0301 COMBINING ACUTE ACCENT'),
        ('\u200b', r"'\u200b' (U+200B ZERO WIDTH SPACE)"),
        ('\u3000', r"'\u3000' (U+3000 IDEOGRAPHIC SPACE)"),
        (' ', "' ' (U+0020 SPACE)"),
    ],
)
def test_character_without_a_shape_is_named(character, shown):
    with pytest.raises(InputError) as caught:
        Vocabulary('abc').encode(f'a{character}')
    assert shown in str(caught.value)
    assert 'normal' not in str(caught.value)


def test_min_count_that_leaves_no_character_is_refused():
    with pytest.raises(InputError, match='min_count=3 leaves no character'):
        Vocabulary.from_text('分开分开', min_count=3)


@pytest.mark.parametrize('characters', ['分开\ufffd', '\ufffd🎵𠮷'])
def test_unknown_character_in_the_graph_equals_python(characters):
    vocabulary = Vocabulary(characters, has_unknown=True)
    texts = ['囧分😀', characters, '\U0010ffff']
    ids = vocabulary.encode_tensor(tf.constant(texts), 'prefix').to_list()
    assert ids == [vocabulary.encode(text).tolist() for text in texts]


@pytest.mark.parametrize('has_unknown', [False, True])
def test_table_gives_the_id_of_each_character(has_unknown):
    """Against a dictionary."""
    text = '分开🎵abba开\n' * 5 + 'x'
    counts = collections.Counter(text)
    found = Vocabulary.from_text(text, min_count=2 if has_unknown else 1)
    kept = {c for c, count in counts.items() if count > 1 or not has_unknown} | ({'\ufffd'} if has_unknown else set())
    assert found.characters == ''.join(sorted(kept))
    ids = {c: n for n, c in enumerate(found.characters)}
    expected = [ids.get(c, found.unknown_id) for c in text]
    assert found.table(text).tolist() == found.encode(text).tolist() == expected
    assert found.knows(text) == (not has_unknown)
    assert found.table('囧').tolist() == [ids['\ufffd'] if has_unknown else ABSENT]


@pytest.mark.parametrize(
    ('size', 'dtype'), [(256, np.uint8), (257, np.uint16), (65_536, np.uint16), (65_537, np.int32)]
)
def test_ids_have_the_smallest_type_that_holds_them(size, dtype):
    vocabulary = Vocabulary(''.join(map(chr, [n for n in range(70_000) if not 0xD800 <= n < 0xE000][:size])))
    assert vocabulary.dtype == dtype
    np.testing.assert_array_equal(vocabulary.encode(vocabulary.characters).astype(dtype), np.arange(size))
