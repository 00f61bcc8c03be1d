"""Requests for several texts per prefix."""

import pytest

from data.errors import InputError
from export.artifact.text_request import TextRequest, batches, sample_requests


def test_requests_of_a_prefix_are_consecutive_and_each_has_the_next_seed():
    assert sample_requests(['分', '开'], 2, 7, length=3, temperature=0.5) == [
        TextRequest('分', 3, 0.5, seed=7),
        TextRequest('分', 3, 0.5, seed=8),
        TextRequest('开', 3, 0.5, seed=9),
        TextRequest('开', 3, 0.5, seed=10),
    ]


def test_several_greedy_texts_of_a_prefix_are_an_error():
    with pytest.raises(InputError, match='num_samples=3 with temperature=0 would generate the same text each time'):
        sample_requests(['分'], 3, 0, length=1, temperature=0.0)
    assert len(sample_requests(['分', '开'], 1, 0, length=1, temperature=0.0)) == 2


def test_batches_keep_the_order_and_the_last_one_may_be_smaller():
    requests = sample_requests(['分'], 5, 0, length=1, temperature=1.0)
    assert list(batches(requests, 2)) == [requests[:2], requests[2:4], requests[4:]]
