"""Compares the answers of another TensorFlow to requests to exported models: TensorFlow Serving is one version behind.

  python -m tests.export.artifact.compatibility --other=.venv-2.20/bin/python

`make compatibility` runs it with TensorFlow 2.20. This program exports an RNN and an LSTM. Then this TensorFlow, the
other one in Python, and the other's C API with and without XLA answer requests to every signature, the warm-up requests
and invalid requests. Texts, counts and error codes must be equal, and floats to 1e-5, as versions may sum in another
order. The exit code is 1 if anything differs.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

import data  # noqa: F401 - keeps TensorFlow's start-up notices off the screen
from export.artifact import versions
from tests.export.artifact import c_api

_ROOT = pathlib.Path(__file__).parents[3]
_STATE = {'rnn': ['state_0'], 'lstm': ['state_0', 'state_1']}
_SIZE = 64
_TOLERANCE = 1e-5


def compare(other: str) -> int:
    """Prints how many answers of the interpreter `other` agree; returns the number that differ."""
    with tempfile.TemporaryDirectory() as folder:
        calls = _calls(pathlib.Path(folder))
        expected = _answers_in_python(calls)
        version, in_python = _answers_of_the_other(calls, other)
        print(f'{len(calls)} requests to models of TensorFlow {tf.__version__}, answered by TensorFlow {version}:')
        found = {
            'Python': in_python,
            'C API': c_api.run(calls, python=other),
            'C API, no XLA': c_api.run(calls, xla=False, python=other),
        }
    return sum(_report(route, calls, expected, answers) for route, answers in found.items())


def _report(route: str, calls: list, expected: list, answers: list) -> int:
    pairs = list(zip(expected, answers, strict=True))
    wrong = [call[1] for call, pair in zip(calls, pairs, strict=True) if not _agree(*pair, _TOLERANCE)]
    print(f'  {route}: {len(pairs) - len(wrong)} agree, {sum(_agree(*pair, 0) for pair in pairs)} of them to the bit')
    if wrong:
        print(f'    differing: {", ".join(wrong)}')
    return len(wrong)


def _agree(a, b, tolerance: float) -> bool:
    if isinstance(a, Exception) or isinstance(b, Exception):
        return getattr(a, 'code', 0) == getattr(b, 'code', 0)
    return a.keys() == b.keys() and all(
        np.allclose(a[name], b[name], rtol=tolerance, atol=tolerance)
        if a[name].dtype.kind == 'f'
        else np.array_equal(a[name], b[name])
        for name in a
    )


def _calls(folder: pathlib.Path) -> list[tuple]:
    """Returns calls for `c_api.run`."""
    from tensorflow_serving.apis import prediction_log_pb2

    from data.vocabulary import Vocabulary
    from export.artifact.exporter import export
    from pipeline.config import ModelConfig
    from pipeline.model import CharRNN
    from tests.conftest import TEXT
    from tests.export.artifact import sample_requests

    vocabulary, calls = Vocabulary.from_text(TEXT), []
    for cell, state in _STATE.items():
        model = CharRNN(ModelConfig(cell=cell, hidden_size=_SIZE, init_scale=0.3), len(vocabulary))
        version_dir = export(model, vocabulary, folder / cell, 30)
        for rows in (1, 32):
            calls += [(version_dir, *call) for call in sample_requests.mixed(rows, state, _SIZE).items()]
        for signature, changed, _ in sample_requests.bad():
            calls.append((version_dir, signature, sample_requests.broken(signature, changed, state, _SIZE)))
        for record in tf.data.TFRecordDataset(str(version_dir / versions.WARMUP_REQUESTS)):
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            calls.append((version_dir, request.model_spec.signature_name, inputs))
    return calls


def _answers_in_python(calls: list[tuple]) -> list:
    """Answers like `c_api.run`, with the TensorFlow of this interpreter."""
    models, answers = {}, []
    for directory, signature, inputs in calls:
        if directory not in models:
            models[directory] = tf.saved_model.load(str(directory))
        try:
            answer = models[directory].signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
            answers.append({name: value.numpy() for name, value in answer.items()})
        except tf.errors.OpError as error:
            answers.append(c_api.CallError(error.error_code, str(error)))
    return answers


def _answers_of_the_other(calls: list[tuple], other: str) -> tuple[str, list]:
    """Returns the version of the other TensorFlow and its answers."""
    request = [(str(d), name, {k: c_api.pack(v) for k, v in inputs.items()}) for d, name, inputs in calls]
    process = subprocess.run(
        [other, '-m', __spec__.name, '--answer'],
        input=json.dumps(request), stdout=subprocess.PIPE, text=True, cwd=_ROOT, check=True,
    )  # fmt: skip
    version, answers = json.loads(process.stdout)
    return version, [
        c_api.CallError(a['code'], a['error'])
        if a.keys() == {'code', 'error'}
        else {name: c_api.unpack(value) for name, value in a.items()}
        for a in answers
    ]


def _answer() -> None:
    """Runs in the other interpreter: reads the requests of `_answers_of_the_other`, writes version and answers."""
    calls = [(d, name, {k: c_api.unpack(v) for k, v in inputs.items()}) for d, name, inputs in json.load(sys.stdin)]
    answers = [
        {'code': a.code, 'error': str(a)}
        if isinstance(a, c_api.CallError)
        else {name: c_api.pack(value) for name, value in a.items()}
        for a in _answers_in_python(calls)
    ]
    json.dump([tf.__version__, answers], sys.stdout)


if __name__ == '__main__':
    match sys.argv[1:]:
        case ['--answer']:
            _answer()
        case [argument] if argument.startswith('--other='):
            sys.exit(bool(compare(argument.removeprefix('--other='))))
        case _:
            sys.exit(__doc__)
