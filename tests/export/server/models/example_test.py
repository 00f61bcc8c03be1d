"""The example of a request that a model answers."""

import pytest

from export.artifact.description import FORMAT
from export.server.models import example


@pytest.mark.parametrize(
    ('prefixes', 'expected'), [(['bab', 'ba', 'a'], 'ba'), (['bab'], 'a'), (['', 'c', 'b'], 'b'), ([], 'a')]
)
def test_text_is_a_prefix_that_the_model_accepts(prefixes, expected):
    description = {'format': FORMAT, 'vocabulary': 'ab', 'limits': {'max_prefix': 2}, 'config': {'prefixes': prefixes}}
    assert example.text(description) == expected


@pytest.mark.parametrize('description', [{}, [], {'format': FORMAT - 1}])
def test_model_without_a_description_has_no_text(description):
    assert example.text(description) == ''
