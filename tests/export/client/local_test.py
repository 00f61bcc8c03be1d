"""LocalModel: a version from disk, and its errors. `generate_test.py` compares its texts with the signature's."""

import shutil

import pytest
import tensorflow as tf

from data.errors import InputError
from export.artifact import versions
from export.artifact.text_request import TextRequest
from export.client.local import LocalModel


def test_refused_value_is_an_error_in_the_models_own_words(model_dir):
    with pytest.raises(InputError, match=r"^prefix\[1\] contains '囧' \(U\+56E7\), which is not among"):
        LocalModel(model_dir / '1').generate([TextRequest('分', 1), TextRequest('囧', 1)])


def test_stream_is_the_generated_text(model_dir):
    request = TextRequest('分开', 20, temperature=1.0, stop=' ', seed=3)
    model = LocalModel(model_dir)
    (whole,) = model.generate([request])
    assert '分开' + ''.join(model.stream(request)) == whole.text
    with pytest.raises(InputError, match=r"^prefix\[0\] contains '囧'"):
        model.stream(TextRequest('囧', 1))


@pytest.mark.parametrize(
    ('description', 'message'),
    [
        (b'{"format": 1}', 'does not have format 3, which this version reads: export the run again'),
        (b'[]', 'does not have format 3, which this version reads: export the run again'),
        (b'{"format": 3,', 'cannot be read: Expecting .* Export the run again'),
        (b'\xff', "cannot be read: 'utf-8' codec .* Export the run again"),
    ],
)
def test_unusable_description_of_a_version_is_named(model_dir, tmp_path, description, message):
    shutil.copytree(model_dir / '1', tmp_path / '1')
    path = tmp_path / '1' / versions.DESCRIPTION
    path.write_bytes(description)
    with pytest.raises(InputError, match=f'^{path} {message}'):
        LocalModel(tmp_path)


def test_version_that_cannot_be_loaded_is_an_error(tmp_path):
    (tmp_path / '1').mkdir()
    (tmp_path / '1' / versions.SAVED_MODEL).write_bytes(b'\xff')
    with pytest.raises(InputError, match=f'^{tmp_path}/1 cannot be loaded: '):
        LocalModel(tmp_path)


def test_saved_model_of_another_project_is_an_error(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / '1'))
    with pytest.raises(InputError, match=f'^{tmp_path}/1 has no signature "generate"'):
        LocalModel(tmp_path)
