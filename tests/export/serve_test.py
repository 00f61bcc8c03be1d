"""The flags of the server: those of TensorFlow Serving are taken, accepted or refused."""

import json
import re

import pytest

from export.server import ignored_flags
from tests import programs
from tests.conftest import ROOT


@pytest.fixture
def started(tmp_path, program_environment):
    """`started(*flags)` -> (the options of the server, stderr), or (None, stderr) if it ends with an error."""

    def started(*flags: str):
        process = programs.run('tests.export.serve_probe', *flags, cwd=tmp_path, env=program_environment)
        return [json.loads(line) for line in process.stdout.splitlines()] or None, process.stderr

    return started


def test_flags_of_tensorflow_serving_are_taken_where_they_mean_something(started, tmp_path):
    (tmp_path / 'batching').write_text('max_batch_size { value: 7 } num_batch_threads { value: 3 }')
    (tmp_path / 'monitoring').write_text('prometheus_config { enable: true path: "/m" }')
    files = ['--batching_parameters_file=batching', '--monitoring_config_file=monitoring', '--num_batch_threads=5']
    others = ['--enable_model_warmup=false', '--rest_api_enable_cors_support', '--tensorflow_intra_op_parallelism=4']
    assert started(*files, *others) == ([[7, 5, '/m', [], False, True], 4], '')


def test_other_flags_of_tensorflow_serving_are_accepted_with_one_line(started):
    options, warning = started('--rest_api_num_threads=8', '--flush_filesystem_caches', '--allowed_hosts=a')
    assert options == [[32, 2, '/monitoring/prometheus/metrics', ['a'], True, False], 1]
    expected = 'without effect here (docs/serving.md says why): flush_filesystem_caches, rest_api_num_threads\n'
    assert warning == expected


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--ssl_config_file=a'], 'ssl_config_file: this server has no TLS'),
        (['--use_alts_credentials'], 'use_alts_credentials: this server has no TLS'),
        (['--batching_parameters_file=a', '--noenable_batching'], 'batching_parameters_file needs batching'),
        (['--rest_api_num_treads=8'], "Unknown command line flag 'rest_api_num_treads'. Did you mean"),
    ],
)
def test_flag_that_cannot_be_honoured_is_an_error(started, flags, message):
    options, error = started(*flags)
    assert options is None
    assert message in error


def test_each_flag_without_effect_is_documented():
    documented = set(re.findall(r'`(\w+)`', (ROOT / 'docs/serving.md').read_text('utf-8')))
    assert set(ignored_flags.NAMES) <= documented
