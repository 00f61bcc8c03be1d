"""The parts of a corpus, encoded, and the prefixes of its samples."""

import pytest

from data.errors import InputError
from data.vocabulary import Vocabulary
from pipeline.config import DataConfig, TrainingConfig
from pipeline.dataset import Dataset, EncodedText, Texts


def test_encoded_text_counts_characters_outside_the_vocabulary():
    encoded = EncodedText.from_text('分囧开😀', Vocabulary('分开'), 'x')
    assert encoded.ids.tolist() == [0, 1]
    assert encoded.unknown_rate == 0.5
    assert encoded.targets.tolist() == [1]


def test_the_context_of_a_text_is_encoded_and_is_no_target():
    encoded = EncodedText.from_text('分囧开', Vocabulary('分开'), 'x', before='开' * 1500 + '囧分')
    assert encoded.num_context == 999  # of the last 1,000 characters before, one is not in the vocabulary
    assert encoded.ids.tolist() == [1] * 998 + [0] + [0, 1]
    assert (encoded.num_characters, encoded.num_unknown) == (3, 1)
    assert encoded.targets.tolist() == [0, 1]


@pytest.mark.parametrize(('text', 'known'), [('', 0), ('分', 1), ('囧分😀', 1)])
def test_text_without_a_character_to_predict_is_refused(text, known):
    with pytest.raises(
        InputError, match=rf'poem\.txt is too short to evaluate: .* has {known} of its {len(text)} char'
    ):
        EncodedText.from_text(text, Vocabulary('分开'), 'poem.txt')


def test_beginning_of_a_text_keeps_its_context():
    text = EncodedText.from_text('abba', Vocabulary('ab'), 'x', before='bb')
    assert text.beginning(0) is text
    assert text.beginning(3).ids.tolist() == [1, 1, 0, 1, 1]
    assert text.beginning(3).targets.tolist() == [0, 1, 1]
    assert text.beginning(9).targets.tolist() == text.targets.tolist()


def test_vocabulary_and_counts_are_of_the_training_part_alone(tmp_path):
    (tmp_path / 'x.txt').write_text('aababaababcz', 'utf-8')
    dataset = Dataset.load(DataConfig(corpus=str(tmp_path / 'x.txt'), valid_fraction=0.34))
    assert (dataset.source.text, dataset.training_text) == ('aababaababcz', 'aababaab')
    assert dict(zip(dataset.vocabulary.characters, dataset.counts, strict=True)) == {'a': 5, 'b': 3}


def test_held_out_parts_may_come_from_texts_of_their_own(tmp_path):
    for name, text in (('a', 'ab' * 30), ('v', 'ba'), ('t', 'b\na')):
        (tmp_path / f'{name}.txt').write_text(text, 'utf-8')
    data = DataConfig(
        corpus=str(tmp_path / 'a.txt'),
        max_characters=6,
        valid_corpus=str(tmp_path / 'v.txt'),
        test_corpus=str(tmp_path / 't.txt'),
    )
    assert Texts.load(data).parts == ('ababab', 'ba', 'b a')
    dataset = Dataset.load(data)
    assert dataset.valid.ids.tolist() == [0, 1] * 3 + [1, 0]
    assert dataset.num_test_characters == 3
    hashes = {dataset.sha256}
    for name in ('a', 'v', 't'):
        (tmp_path / f'{name}.txt').write_text('abba', 'utf-8')
        hashes.add(Texts.load(data).sha256)
    assert len(hashes) == 4  # another text in any part is seen when a run resumes


def test_error_of_a_part_names_its_setting(tmp_path):
    (tmp_path / 'a.txt').write_text('abab', 'utf-8')
    with pytest.raises(InputError, match="--test_corpus: corpus 'no' is not a file"):
        Texts.load(DataConfig(corpus=str(tmp_path / 'a.txt'), test_corpus='no'))


@pytest.mark.parametrize(
    ('prefixes', 'min_count', 'expected'),
    [
        (TrainingConfig.prefixes, 1, ('Once',)),
        (TrainingConfig.prefixes, 2, ('Once',)),  # U+FFFD could replace their characters, but would say nothing
        (('on', '囧'), 2, ('on', '囧')),
        (('\ufeffon',), 1, ('on',)),  # the text is read without byte order marks, too
    ],
)
def test_default_prefixes_outside_the_vocabulary_become_the_first_word(tmp_path, prefixes, min_count, expected):
    (tmp_path / 'x.txt').write_text('Once upon a time upon a time', 'utf-8')
    dataset = Dataset.load(DataConfig(corpus=str(tmp_path / 'x.txt'), min_count=min_count))
    assert dataset.usable_prefixes(prefixes) == expected
