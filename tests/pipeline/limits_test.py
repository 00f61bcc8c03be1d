"""Limits on requests."""

import pytest

from data.errors import InputError
from pipeline.limits import Limits


@pytest.mark.parametrize('limits', [{'max_length': 0}, {'max_prefix': 0}, {'max_length': 1_000_001}])
def test_limit_out_of_range_is_an_error(limits):
    with pytest.raises(InputError, match=r'max_\w+=\d+ must be between 1 and 1000000'):
        Limits(**limits)
