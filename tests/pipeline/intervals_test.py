"""How often: the units, and what is due when."""

import pytest

from data.errors import InputError
from pipeline.intervals import Due, Interval


@pytest.mark.parametrize(
    ('text', 'interval'),
    [
        ('500', Interval(steps=500)),
        ('30s', Interval(seconds=30)),
        ('2ep', Interval(epochs=2)),
        ('0', Interval()),
    ],
)
def test_units(text, interval):
    assert Interval.parse('evaluate_every', text) == interval
    assert bool(interval) == (text != '0')


@pytest.mark.parametrize('text', ['', '0s', '0ep', '-1', '1.5', '5 ep', '5m', '1_0', 'ep', '٣'])
def test_other_texts_are_refused_by_name(text):
    with pytest.raises(InputError, match=r'sample_every=.* must be a number of steps, such as 500, of seconds'):
        Interval.parse('sample_every', text)


def test_steps_and_epochs_are_due_at_their_multiples():
    for text in ('6', '2ep'):
        due = Due(Interval.parse('x', text).without_epochs(3))
        assert [step for step in range(1, 20) if due.at(step)] == [6, 12, 18]
        assert due.at(7, at_end=True)


def test_seconds_count_from_the_last_time():
    now = 0
    due = Due(Interval(seconds=30).without_epochs(3), clock=lambda: now)
    found = []
    for now in (10, 29, 30, 40, 59, 61):
        if due.at(now):
            found.append(now)
            due.done()
    assert found == [30, 61]


def test_never_is_never_even_at_the_end():
    due = Due(Interval())
    assert not due.at(10)
    assert not due.at(10, at_end=True)
