"""The exporter: version directories that are complete or absent, and refused settings."""

import concurrent.futures
import threading
import time

import pytest
import tensorflow as tf

from data.errors import InputError
from data.vocabulary import UNKNOWN, Vocabulary
from export.artifact.exporter import export
from export.artifact.sample_settings import SampleSettings
from pipeline.config import ModelConfig
from pipeline.limits import Limits
from pipeline.model import CharRNN

pytestmark = pytest.mark.slow


def test_default_length_above_the_limit_is_an_error(model, vocabulary, tmp_path):
    with pytest.raises(InputError, match=r'sample_length=30 .* above --max_length=20: give a larger --max_length'):
        export(model, vocabulary, tmp_path, 30, Limits(max_length=20))


def test_watching_server_never_sees_an_incomplete_version(model, vocabulary, tmp_path):
    """A directory whose name is an integer always has all its files."""
    seen, finished = {}, threading.Event()

    def watch():
        while not finished.wait(0.002):
            for path in tmp_path.glob('[0-9]*'):
                seen.setdefault(path.name, {file.relative_to(path) for file in path.rglob('*')})

    with concurrent.futures.ThreadPoolExecutor() as pool:
        watching = pool.submit(watch)
        try:
            version_dir = export(model, vocabulary, tmp_path, 1)
            while version_dir.name not in seen and not watching.done():
                time.sleep(0.001)
        finally:
            finished.set()
        watching.result(timeout=60)
    files = {file.relative_to(version_dir) for file in version_dir.rglob('*')}
    assert seen == {version_dir.name: files}
    assert {'saved_model.pb', 'charrnn.json', 'tf_serving_warmup_requests'} <= {file.name for file in files}


def test_export_adds_the_next_version_and_leaves_no_other_files(model, vocabulary, tmp_path):
    (tmp_path / '7').mkdir()
    (tmp_path / 'notes').mkdir()
    assert export(model, vocabulary, tmp_path, 1).name == '8'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['7', '8', 'notes']


def test_failed_export_leaves_no_version(model, vocabulary, tmp_path, monkeypatch):
    def full_disk(artifact, path, signatures):
        tf.io.gfile.makedirs(f'{path}/variables')
        raise tf.errors.ResourceExhaustedError(None, None, 'no space left')

    monkeypatch.setattr(tf.saved_model, 'save', full_disk)
    with pytest.raises(InputError, match=r'model_dir .* cannot be written: no space left. Make room'):
        export(model, vocabulary, tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'sample_length': 8}, 'sample_length=8 is above max_length=7, the limit of a request'),
        ({'sample_length': 7, 'sample_stop': '分' * 8}, 'sample_stop has 8 characters, above max_length=7'),
        ({'sample_length': 7, 'sample_stop': '囧'}, r"sample_stop contains '囧' \(U\+56E7\), which is not among"),
    ],
)
def test_settings_of_sample_that_the_model_would_refuse_are_an_error(model, vocabulary, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        export(model, vocabulary, tmp_path, 1, Limits(max_length=7), settings=SampleSettings(**settings))


def test_stop_of_sample_cannot_be_the_unknown_character(tmp_path):
    vocabulary = Vocabulary('分' + UNKNOWN, has_unknown=True)
    model = CharRNN(ModelConfig(hidden_size=2), 2)
    with pytest.raises(InputError, match="sample_stop='囧' contains a character that the model cannot generate"):
        export(model, vocabulary, tmp_path, 1, settings=SampleSettings(sample_stop='囧'))
