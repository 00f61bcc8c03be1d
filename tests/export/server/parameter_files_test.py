"""TensorFlow Serving's files of parameters, read from the documented ones and from broken ones."""

import pytest

from data.errors import InputError
from export.server.options import METRICS_PATH
from export.server.parameter_files import read_batching, read_metrics_path
from tests.conftest import ROOT


def test_documented_files_are_valid():
    values = {'max_batch_size': 32, 'batch_timeout_micros': 1000, 'max_enqueued_batches': 100, 'num_batch_threads': 2}
    assert read_batching(ROOT / 'docs/serving/batching_parameters.txt') == (values, [])
    assert read_metrics_path(ROOT / 'docs/serving/monitoring.config') == METRICS_PATH


def test_parameters_without_effect_are_named(tmp_path):
    path = tmp_path / 'batching'
    path.write_text(
        'max_batch_size { value: 7 } allowed_batch_sizes: 4 allowed_batch_sizes: 7 thread_pool_name: {} '
        'pad_variable_length_inputs: true enable_large_batch_splitting { value: true }'
    )
    without_effect = ['allowed_batch_sizes', 'enable_large_batch_splitting', 'pad_variable_length_inputs']
    assert read_batching(path) == ({'max_batch_size': 7}, [*without_effect, 'thread_pool_name'])


@pytest.mark.parametrize(
    ('text', 'found'),
    [('', None), ('prometheus_config {}', None), ('prometheus_config { enable: true }', METRICS_PATH),
     ('prometheus_config { enable: true path: "/m" }', '/m')],
)  # fmt: skip
def test_path_of_the_metrics(tmp_path, text, found):
    (tmp_path / 'monitoring').write_text(text)
    assert read_metrics_path(tmp_path / 'monitoring') == found


@pytest.mark.parametrize(
    ('read', 'text', 'message'),
    [
        (read_batching, 'max_batch_sise { value: 7 }', 'batching_parameters_file .* cannot be read: .*max_batch_sise'),
        (read_batching, 'max_batch_size: 7', 'batching_parameters_file .* cannot be read'),
        (read_batching, None, 'batching_parameters_file .* cannot be read: .*No such file'),
        (read_metrics_path, 'prometheus_config { enable: true path: "m" }', "path 'm' must begin with a slash"),
    ],
)
def test_broken_file_is_named(tmp_path, read, text, message):
    if text is not None:
        (tmp_path / 'file').write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / 'file')
