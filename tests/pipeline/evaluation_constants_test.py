"""The file of the constants of an evaluation."""

import pytest

from data.errors import InputError
from pipeline import evaluation_constants
from pipeline.evaluation_constants import Constants


def test_constants_are_read_as_they_were_written(tmp_path):
    constants = Constants(0.3, {'mixture': {'model': 0.25, 'kneser_ney_2': 0.75}})
    evaluation_constants.write(tmp_path, constants, [tmp_path / 'checkpoints' / 'ckpt-3'])
    assert evaluation_constants.read(tmp_path) == constants


def test_missing_or_damaged_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r'has no evaluation\.json: evaluate this run first'):
        evaluation_constants.read(tmp_path)
    (tmp_path / 'evaluation.json').write_text('{"dynamic_rate": 1', 'utf-8')
    with pytest.raises(InputError, match=r'evaluation\.json cannot be read: .* Evaluate this run again\.'):
        evaluation_constants.read(tmp_path)
