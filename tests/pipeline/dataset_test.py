"""The parts of a corpus, encoded, and the prefixes of its samples."""

import pytest

from data.errors import InputError
from data.vocabulary import Vocabulary
from pipeline.config import Config, DataConfig, TrainingConfig
from pipeline.dataset import Dataset, EncodedText, Texts
from pipeline.run_directory import RunRecord
from pipeline.run_evaluation import held_out_part
from tests.conftest import stored


def test_encoded_text_counts_characters_outside_the_vocabulary():
    encoded = EncodedText.of(stored('分囧开😀'), Vocabulary('分开'), 'x')
    assert encoded.ids[:].tolist() == [0, 1]
    assert encoded.unknown_rate == 0.5
    assert encoded.targets.tolist() == [1]


def test_the_context_of_a_text_is_encoded_and_is_no_target():
    encoded = EncodedText.of(stored('分囧开'), Vocabulary('分开'), 'x', [stored('开' * 1500 + '囧分')])
    assert encoded.num_context == 999  # of the last 1,000 characters before, one is not in the vocabulary
    assert encoded.ids[:].tolist() == [1] * 998 + [0] + [0, 1]
    assert (encoded.num_characters, encoded.num_unknown) == (3, 1)
    assert encoded.targets.tolist() == [0, 1]


@pytest.mark.parametrize(('text', 'known'), [('', 0), ('分', 1), ('囧分😀', 1)])
def test_text_without_a_character_to_predict_is_refused(text, known):
    with pytest.raises(
        InputError, match=rf'poem\.txt is too short to evaluate: .* has {known} of its {len(text)} char'
    ):
        EncodedText.of(stored(text), Vocabulary('分开'), 'poem.txt')


def test_beginning_of_a_text_keeps_its_context():
    text = EncodedText.of(stored('abba'), Vocabulary('ab'), 'x', [stored('bb')])
    assert text.beginning(0) is text
    assert text.beginning(3).ids[:].tolist() == [1, 1, 0, 1, 1]
    assert text.beginning(3).targets.tolist() == [0, 1, 1]
    assert text.beginning(9).targets.tolist() == text.targets.tolist()


def test_vocabulary_and_counts_are_of_the_training_part_alone(tmp_path):
    (tmp_path / 'x.txt').write_text('aababaababcz', 'utf-8')
    dataset = Dataset.load(DataConfig(corpus=str(tmp_path / 'x.txt'), valid_fraction=0.34))
    assert (str(dataset.source.text), str(dataset.training)) == ('aababaababcz', 'aababaab')
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
    assert tuple(map(str, Texts.load(data).parts)) == ('ababab', 'ba', 'b a')
    dataset = Dataset.load(data)
    assert dataset.valid.ids[:].tolist() == [0, 1] * 3 + [1, 0]
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


@pytest.mark.parametrize('min_count', [1, 2])
@pytest.mark.parametrize('part', ['valid', 'test'])
@pytest.mark.parametrize('valid_length', [7, 3000])
def test_held_out_part_follows_the_thousand_characters_before_it(tmp_path, min_count, part, valid_length):
    """In a text of one file, against the string; some characters occur only in the held-out parts."""
    text = 'abc de' * 400 + 'xaébc' * (valid_length // 5) + 'ab' * (valid_length % 5) + 'day🎵' * 100
    path = tmp_path / 'x.txt'
    path.write_text(text, 'utf-8')
    held_out = len(text) - 2400
    data = DataConfig(
        corpus=str(path),
        valid_fraction=(held_out - 400) / len(text),
        test_fraction=400 / len(text),
        min_count=min_count,
    )
    (tmp_path / 'run').mkdir()
    vocabulary = Vocabulary.from_text(text[:2400], min_count)
    record = RunRecord(Config(data), vocabulary, '', ())
    found = held_out_part(tmp_path / 'run', record, part, Texts.load(data).parts)
    start, stop = (2400, len(text) - 400) if part == 'valid' else (len(text) - 400, len(text))
    before, own = text[start - 1000 : start], text[start:stop]
    known = [c for c in before + own if min_count > 1 or c in vocabulary.characters]
    ids = {c: n for n, c in enumerate(vocabulary.characters)}
    assert found.ids[:].tolist() == [ids.get(c, vocabulary.unknown_id) for c in known]
    assert found.num_unknown == sum(c not in vocabulary.characters for c in own)
    num_known_before = sum(min_count > 1 or c in vocabulary.characters for c in before)
    assert (found.num_context, found.num_characters) == (num_known_before, len(own))
