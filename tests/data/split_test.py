"""The cuts between the parts of a text: where they are, and that nothing crosses them."""

import pytest
import tensorflow as tf

from data.errors import InputError
from data.split import split
from data.windows import Windows


@pytest.mark.parametrize(
    ('fractions', 'parts'),
    [
        ((0,), ('abcdefghij', '', '')),
        ((0.2,), ('abcdefgh', 'ij', '')),
        ((0.29,), ('abcdefg', 'hij', '')),
        ((0.9,), ('a', 'bcdefghij', '')),
        ((0.2, 0.3), ('abcde', 'fg', 'hij')),
        ((0, 0.2), ('abcdefgh', '', 'ij')),
    ],
)
def test_parts_follow_each_other(fractions, parts):
    assert split('abcdefghij', *fractions) == parts


@pytest.mark.parametrize('sampling', ['random', 'consecutive'])
@pytest.mark.parametrize('length', [100, 101, 104, 119])
def test_no_window_of_any_minibatch_crosses_the_cut(sampling, length):
    """The last character that a window reads or predicts, in two epochs, is before the held-out part."""
    training, valid, test = split('x' * length, 0.25, 0.1)
    windows = Windows(len(training), 3, 5, sampling)
    offsets = [
        int(o) for step in range(2 * windows.steps_per_epoch) for o in windows.offsets(tf.constant(step, tf.int64))
    ]
    assert max(offset + windows.num_steps for offset in offsets) < length - len(valid) - len(test)


def test_parts_that_are_too_short_are_refused():
    with pytest.raises(InputError, match=r'valid_fraction=0\.1 holds out 1 of the 10 characters; it must hold out 2'):
        split('abcdefghij', 0.1)
    with pytest.raises(InputError, match=r'test_fraction=0\.1 holds out 1 of the 10 characters'):
        split('abcdefghij', 0.2, 0.1)
    leaves_none = r'valid_fraction=0\.96 leave none of the 10 characters to train on: lower --valid_fraction\.'
    with pytest.raises(InputError, match=leaves_none):
        split('abcdefghij', 0.96)
    with pytest.raises(InputError, match=r'=0\.5 and test_fraction=0\.5 leave none .* or --test_fraction'):
        split('abcdefghij', 0.5, 0.5)
