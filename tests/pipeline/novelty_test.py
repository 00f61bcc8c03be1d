"""What was copied, in texts whose copies are known."""

import pytest

from pipeline import novelty

TRAINING = 'the sun rose over the quiet harbour and the sea shone'


def test_copied_is_the_fraction_of_known_n_grams():
    known = {TRAINING[i : i + 4] for i in range(len(TRAINING) - 3)}
    assert novelty.copied(['the sun ros'], known, 4) == 1
    assert novelty.copied(['THE SUN ROSE'], known, 4) == 0
    assert novelty.copied(['the x', 'the '], known, 4) == pytest.approx(2 / 3)
    assert novelty.copied(['a'], known, 4) == 0


@pytest.mark.parametrize(
    ('text', 'longest'),
    [
        ('xx the quiet moon, the sea', ' the quiet '),
        (TRAINING, TRAINING),
        ('a', 'a'),
        ('ZZ', ''),
        ('', ''),
        ('the then', 'the '),
    ],
)
def test_longest_copy(text, longest):
    assert novelty.longest_copy(text, TRAINING) == longest


def test_model_that_was_not_trained_copies_little(model, vocabulary):
    """Of 24 characters, any 4 in a row are rarely a 4-gram of the training part, and any 16 never."""
    training = vocabulary.characters * 3
    found = novelty.measure(model, vocabulary, '分', training)
    assert list(found) == ['0.5', '0.8', '1']
    for row in found.values():
        assert 1 >= row['copied_4'] >= row['copied_8'] >= row['copied_16'] == 0
        assert row['copied_4'] < 0.1
    assert '1-grams' not in novelty.table(found)
    assert len(novelty.table(found).splitlines()) == 2 + 3
