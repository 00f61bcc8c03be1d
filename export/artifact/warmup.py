"""`assets.extra/tf_serving_warmup_requests`: requests that TensorFlow Serving runs before it serves a version.

The file is a TFRecord of PredictionLog messages. They make TensorFlow allocate memory and optimise the graph before
the first client waits for it. Short texts suffice; together the rows take every branch of the sampler.
"""

import pathlib
from collections.abc import Sequence

import tensorflow as tf

from export.artifact.artifact import Artifact
from export.artifact.versions import WARMUP_REQUESTS
from pipeline.limits import Limits

INSTALL_HINT = 'install tensorflow-serving-api (the extra "serve", which `make` installs) and export again.'
_BATCH_SIZES = (1, 8, 32)
_LENGTH = 8  # characters
_KNOBS = (
    {'temperature': 1.0, 'top_k': 5, 'top_p': 0.9, 'stop': ''},
    {'temperature': 0.0, 'top_k': 0, 'top_p': 1.0, 'stop': ''},
    {'temperature': 0.7, 'top_k': 0, 'top_p': 1.0, 'stop': ''},
)


def write(version_dir: pathlib.Path, artifact: Artifact, name: str, prefixes: Sequence[str]) -> bool:
    """Writes the requests into a new version directory, if tensorflow-serving-api is installed.

    Args:
      version_dir: the directory, before it is renamed to its number.
      artifact: the exported model.
      name: the model's name; a server ignores it and uses the name in its own settings.
      prefixes: candidates for the prefixes of the requests.

    Returns:
      whether the requests were written.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = version_dir / WARMUP_REQUESTS
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for rows in _BATCH_SIZES:
            for signature, inputs in requests(valid_prefixes(prefixes, artifact), rows, artifact.limits).items():
                request = predict_pb2.PredictRequest()
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                for key, values in inputs.items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())
    return True


def valid_prefixes(prefixes: Sequence[str], artifact: Artifact) -> list[str]:
    """Returns the prefixes that the model accepts; if it accepts none, the first character of the vocabulary."""
    vocabulary = artifact.vocabulary
    known = [p for p in prefixes if vocabulary.unknown_id is not None or vocabulary.knows(p)]
    return [p for p in known if 0 < len(p) <= artifact.limits.max_prefix] or [vocabulary.characters[0]]


def requests(prefixes: Sequence[str], rows: int, limits: Limits) -> dict[str, dict[str, tf.Tensor]]:
    """Returns inputs, `[rows]` each, for every signature but `step`; the rows cycle through `prefixes`."""
    prefix = tf.constant([prefixes[row % len(prefixes)] for row in range(rows)])
    generate = {
        'prefix': prefix,
        'length': tf.fill([rows], min(_LENGTH, limits.max_length)),
        'seed': tf.range(rows, dtype=tf.int64),
    }
    for name in _KNOBS[0]:
        generate[name] = tf.constant([_KNOBS[row % len(_KNOBS)][name] for row in range(rows)])
    # The length of `sample` is fixed, so a batch of it takes long: one row suffices.
    sample = {'sample': {'prefix': prefix, 'seed': generate['seed']}} if rows == 1 else {}
    return sample | {
        'serving_default': {'prefix': prefix},
        'generate': generate,
        'score': {'text': tf.strings.join([prefix, tf.strings.substr(prefix, 0, 1, unit='UTF8_CHAR')])},
    }
