"""Two models to try a server with, and the ModelServerConfig that names them.

python -m tests.export.server.served_models DIRECTORY   (then serve DIRECTORY/models.config with any server of this API)
"""

import pathlib
import sys

import tensorflow as tf

from data.vocabulary import Vocabulary
from export.artifact.exporter import export
from pipeline.config import ModelConfig
from pipeline.model import CharRNN
from tests.conftest import TEXT

HALF_PLUS_TWO_VERSION = 123
DEFAULT_LENGTH = 12  # characters that the small charrnn adds by default

_CONFIG = """\
model_config_list {{
  config {{
    name: "half_plus_two" base_path: "{root}/half_plus_two" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
    version_labels {{ key: "stable" value: 123 }}
  }}
  config {{ name: "charrnn" base_path: "{root}/charrnn" model_platform: "tensorflow" }}
}}
"""


class HalfPlusTwo(tf.Module):
    """TensorFlow Serving's toy model, and a signature for each corner of the protocol. It checks nothing by itself."""

    def __init__(self, half: float = 0.5):
        super().__init__()
        self._half = tf.Variable(half)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, 'x')])
    def half_plus_two(self, x):
        return {'y': x * self._half + 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, 'image')])
    def picture(self, image):
        return {'thumbnail_bytes': tf.strings.substr(image, 0, 3), 'size': tf.strings.length(image)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, 'a'), tf.TensorSpec([None, 2], tf.int32, 'b')])
    def two(self, a, b):
        return {'sum': a + tf.cast(tf.reduce_sum(b, axis=1), tf.float32), 'twice': 2 * b}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, 'x')])
    def total(self, x):
        return {'total': tf.reduce_sum(x)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.bool, 'truth'),
            tf.TensorSpec([None], tf.int64, 'long'),
            tf.TensorSpec([None], tf.uint8, 'byte'),
            tf.TensorSpec([None], tf.float64, 'double'),
        ]
    )
    def types(self, truth, long, byte, double):
        return {'truth': ~truth, 'long': long + 1, 'byte': byte // 2, 'double': double / 4}


class Probe(tf.Module):
    """Shows what batches a server forms: it checks its rows, so they may share one, and says how many were in it."""

    def __init__(self, offset: int = 0):
        super().__init__()
        self._offset = offset

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, 'spin')])
    def spun(self, spin):
        """Counts to the largest `spin`, which takes about a second for a million."""
        rows = tf.fill(tf.shape(spin), tf.shape(spin)[0])
        return {'rows': rows, 'sum': spin + self._offset + _count_to(tf.reduce_max(spin))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, 'spin')])
    def product(self, spin):
        return {'rows': tf.fill(tf.shape(spin), tf.shape(spin)[0]), 'product': spin * self._offset}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, 'spin')])
    def alone(self, spin):
        """As `spun`, without a check."""
        return self.spun(spin)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, 'spin')])
    def check_serving_default(self, spin):
        return self._checked_rows(spin)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, 'spin')])
    def check_product(self, spin):
        return self._checked_rows(spin)

    def _checked_rows(self, spin):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(spin >= 0), ['spin must be 0 or more'])]):
            return tf.shape(spin)[0]


def _count_to(limit: tf.Tensor) -> tf.Tensor:
    """0, after a while."""
    return tf.while_loop(lambda n: n < limit, lambda n: [n + 1], [0])[0] * 0


def write_probe(directory: pathlib.Path, offset: int = 0) -> pathlib.Path:
    """Writes it as one version and returns `directory`."""
    probe = Probe(offset)
    signatures = {'serving_default': probe.spun, 'product': probe.product, 'alone': probe.alone}
    tf.saved_model.save(probe, str(directory), signatures)
    return directory


def write_half_plus_two(directory: pathlib.Path, half: float = 0.5) -> pathlib.Path:
    """Writes it as one version and returns `directory`."""
    module = HalfPlusTwo(half)
    signatures = {name: getattr(module, name) for name in ('picture', 'two', 'total', 'types')}
    tf.saved_model.save(module, str(directory), {'serving_default': module.half_plus_two, **signatures})
    return directory


def write_charrnn(model_dir: pathlib.Path) -> pathlib.Path:
    """Writes the next version of the tests' small model, untrained, and returns its directory."""
    vocabulary = Vocabulary.from_text(TEXT)
    model = CharRNN(ModelConfig(hidden_size=16, init_scale=0.5), len(vocabulary), seed=3)
    return export(model, vocabulary, model_dir, DEFAULT_LENGTH)


def write(directory: pathlib.Path) -> pathlib.Path:
    """Writes both models and returns the path of the config."""
    write_half_plus_two(directory / 'half_plus_two' / f'{HALF_PLUS_TWO_VERSION:08}')
    write_charrnn(directory / 'charrnn')
    config = directory / 'models.config'
    config.write_text(_CONFIG.format(root=directory.resolve()), 'utf-8')
    return config


if __name__ == '__main__':
    print(write(pathlib.Path(sys.argv[1])))
