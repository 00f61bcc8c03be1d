"""The warm-up requests, read with TensorFlow Serving's protos. `c_api_test.py` runs them."""

import sys

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from data.vocabulary import UNKNOWN, Vocabulary
from export.artifact import versions, warmup
from export.artifact.artifact import Artifact
from export.artifact.exporter import export
from export.artifact.sample_settings import SampleSettings
from pipeline.config import ModelConfig
from pipeline.limits import Limits
from pipeline.model import CharRNN

pytestmark = pytest.mark.slow


def test_requests_cover_all_text_signatures_alone_and_in_batches(version_dirs):
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(version_dirs['rnn'] / versions.WARMUP_REQUESTS))
    ]
    requests = [log.predict_log.request for log in logs]
    texts = [r.inputs['text' if r.model_spec.signature_name == 'score' else 'prefix'] for r in requests]
    found = {(r.model_spec.signature_name, t.tensor_shape.dim[0].size) for r, t in zip(requests, texts, strict=True)}
    names = ('serving_default', 'generate', 'score')
    assert found == {('sample', 1)} | {(name, rows) for name in names for rows in (1, 8, 32)}
    assert {r.model_spec.name for r in requests} == {'rnn'}
    assert max(tf.make_ndarray(r.inputs['length']).max() for r in requests if 'length' in r.inputs) <= 8


@pytest.mark.parametrize(
    ('characters', 'valid'),
    [('分山开', ['分开']), ('分山开' + UNKNOWN, ['分开', '囧']), ('abc', ['a'])],
)
def test_prefixes_are_those_that_the_model_accepts(characters, valid):
    vocabulary = Vocabulary(''.join(sorted(characters)), has_unknown=UNKNOWN in characters)
    model = CharRNN(ModelConfig(hidden_size=2), len(vocabulary))
    artifact = Artifact(model, vocabulary, 1, Limits(max_prefix=3), SampleSettings())
    assert warmup.valid_prefixes(['分开', '囧', '分开分开'], artifact) == valid


def test_export_without_the_protos_has_no_warm_up_requests(model, vocabulary, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow_serving.apis', None)
    version_dir = export(model, vocabulary, tmp_path, 1)
    assert [path.name for path in (version_dir / 'assets.extra').iterdir()] == ['charrnn.json']
