"""The table of benchmarks.generation."""

import pytest

from benchmarks import generation


@pytest.mark.parametrize(
    ('peer', 'row'),
    [
        ({'PyTorch': {'1, greedy': 1000.0}}, '| rnn, 1, greedy | 1,500 | 2,000 | 1,000 | 2.00 (2.00 to 2.00) |'),
        ({}, '| rnn, 1, greedy | 1,500 | 2,000 | - | - |'),
    ],
)
def test_row_has_a_column_for_a_peer_that_is_missing(peer, row):
    own = {'artifact': {'1, greedy': 1500.0}, 'artifact, threads': {'1, greedy': 2000.0}}
    assert list(generation.rows('rnn', [own | peer])) == [row]
