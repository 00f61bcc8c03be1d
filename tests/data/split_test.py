"""The cut between the training part and the held-out part: where it is, and that nothing crosses it."""

import pytest
import tensorflow as tf

from data.errors import InputError
from data.split import split
from data.windows import Windows


@pytest.mark.parametrize(
    ('fraction', 'parts'),
    [
        (0, ('abcdefghij', '')),
        (0.2, ('abcdefgh', 'ij')),
        (0.29, ('abcdefg', 'hij')),
        (0.9, ('a', 'bcdefghij')),
    ],
)
def test_split_cuts_off_the_tail(fraction, parts):
    assert split('abcdefghij', fraction) == parts


@pytest.mark.parametrize('sampling', ['random', 'consecutive'])
@pytest.mark.parametrize('length', [100, 101, 104, 119])
def test_no_window_of_any_minibatch_crosses_the_cut(sampling, length):
    """The last character that a window reads or predicts, in two epochs, is before the held-out part."""
    training, held_out = split('x' * length, 0.25)
    windows = Windows(len(training), 3, 5, sampling)
    offsets = [
        int(o) for step in range(2 * windows.steps_per_epoch) for o in windows.offsets(tf.constant(step, tf.int64))
    ]
    assert max(offset + windows.num_steps for offset in offsets) < length - len(held_out)


def test_parts_that_are_too_short_are_refused():
    with pytest.raises(InputError, match=r'valid_fraction=0\.1 holds out 1 of the 10 characters; it must hold out 2'):
        split('abcdefghij', 0.1)
    with pytest.raises(InputError, match=r'valid_fraction=0\.96 holds out all of the 10 characters'):
        split('abcdefghij', 0.96)
