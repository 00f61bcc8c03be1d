"""The artifact in TensorFlow's C API: bit-equal to the answers in Python, with XLA and without."""

import re

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from export.artifact import versions
from tests.export.artifact import c_api, sample_requests

pytestmark = pytest.mark.slow

STATE = {'rnn': ['state_0'], 'gru': ['state_0'], 'lstm': ['state_0', 'state_1', 'state_2', 'state_3']}
SIZE = 16


class _Compiled(tf.Module):
    """A module with a compiled function, which the artifact must not have."""

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([2])])
    def double(self, x):
        return {'y': 2 * x}


@pytest.fixture(scope='module')
def calls(version_dirs, tmp_path_factory) -> dict[str, list]:
    """Calls by the property that they show."""
    compiled = _Compiled()
    compiled_dir = tmp_path_factory.mktemp('compiled')
    tf.saved_model.save(compiled, str(compiled_dir), {'double': compiled.double})
    rnn = version_dirs['rnn']
    records = tf.data.TFRecordDataset(str(rnn / versions.WARMUP_REQUESTS))
    logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request for record in records]
    return {
        'good': [
            (version_dir, signature, inputs)
            for cell, version_dir in version_dirs.items()
            for rows in (1, 32)
            for signature, inputs in sample_requests.mixed(rows, STATE[cell], SIZE).items()
        ],
        'bad': [
            (rnn, signature, sample_requests.broken(signature, changed, STATE['rnn'], SIZE))
            for signature, changed, _ in sample_requests.bad()
        ],
        'warm-up': [
            (rnn, r.model_spec.signature_name, {name: tf.make_ndarray(value) for name, value in r.inputs.items()})
            for r in logs
        ],
        'compiled': [(compiled_dir, 'double', {'x': np.ones(2, np.float32)})],
    }


@pytest.fixture(scope='module', params=[True, False], ids=['xla', 'no xla'])
def answers(request, calls) -> dict[str, list]:
    """Answers by the same property, all from one process; TensorFlow Serving has no XLA by default."""
    if request.param:
        calls = calls | {'good': [call for call in calls['good'] if call[0].parent.name == 'rnn']}
    found = iter(c_api.run([call for some in calls.values() for call in some], xla=request.param))
    return {name: [next(found) for _ in some] for name, some in calls.items()} | {'xla': request.param, 'calls': calls}


def test_answers_are_bit_equal_to_those_in_python(answers, loaded_models):
    for (directory, signature, inputs), found in zip(answers['calls']['good'], answers['good'], strict=True):
        model = loaded_models[directory.parent.name]
        expected = model.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value.numpy(), err_msg=f'{directory}, {signature}, {name}')


def test_bad_row_is_an_invalid_argument_error_that_names_it(answers):
    for (_, _, message), found in zip(sample_requests.bad(), answers['bad'], strict=True):
        assert isinstance(found, c_api.CallError), message
        assert found.code == c_api.INVALID_ARGUMENT
        assert re.search(message, str(found))


def test_warm_up_requests_run(answers):
    assert len(answers['warm-up']) == 10
    assert not [answer for answer in answers['warm-up'] if isinstance(answer, Exception)]


def test_compiled_function_fails_without_xla(answers):
    """Shows that the mode without XLA has no XLA."""
    (found,) = answers['compiled']
    if answers['xla']:
        np.testing.assert_array_equal(found['y'], [2, 2])
    else:
        assert 'XLA' in str(found)
