"""`assets.extra/tf_serving_warmup_requests`: what TensorFlow Serving runs through a version before it serves it.

A TFRecord of PredictionLog records. What a first request would wait for, memory and the graph's own optimisation, is
done then; so the texts are short, and between them the rows take every branch of the sampler.
"""

import pathlib
from collections.abc import Sequence

import tensorflow as tf

from export.artifact.artifact import Artifact
from export.artifact.versions import WARMUP_REQUESTS
from pipeline.checks import Limits

HOW_TO_HAVE_THEM = 'install tensorflow-serving-api (the extra "serve", which `make` installs) and export again.'
_BATCH_SIZES = (1, 8, 32)
_LENGTH = 8  # characters
_KNOBS = (
    {'temperature': 1.0, 'top_k': 5, 'top_p': 0.9},
    {'temperature': 0.0, 'top_k': 0, 'top_p': 1.0},
    {'temperature': 0.7, 'top_k': 0, 'top_p': 1.0},
)


def write(version_dir: pathlib.Path, artifact: Artifact, name: str, prefixes: Sequence[str]) -> bool:
    """Writes the requests into a version directory that is not yet in place, if tensorflow-serving-api is installed.

    Args:
      version_dir: the directory.
      artifact: what it holds.
      name: the model's name, which a server takes from its own settings and does not look at here.
      prefixes: texts to begin with, where the model can.

    Returns:
      whether it is installed.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = version_dir / WARMUP_REQUESTS
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for rows in _BATCH_SIZES:
            for signature, inputs in requests(usable(prefixes, artifact), rows, artifact.limits).items():
                request = predict_pb2.PredictRequest()
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                for key, values in inputs.items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())
    return True


def usable(prefixes: Sequence[str], artifact: Artifact) -> list[str]:
    """Those that the model can continue; its vocabulary's first character where there is none."""
    vocabulary = artifact.vocabulary
    readable = [p for p in prefixes if vocabulary.unknown_id is not None or vocabulary.knows(p)]
    return [p for p in readable if 0 < len(p) <= artifact.limits.max_prefix] or [vocabulary.characters[0]]


def requests(prefixes: Sequence[str], rows: int, limits: Limits) -> dict[str, dict[str, tf.Tensor]]:
    """The inputs, `[rows]` each, of a request to each signature that answers with a text; rows go round `prefixes`."""
    prefix = tf.constant([prefixes[row % len(prefixes)] for row in range(rows)])
    generate = {
        'prefix': prefix,
        'length': tf.fill([rows], min(_LENGTH, limits.max_length)),
        'seed': tf.range(rows, dtype=tf.int64),
    }
    for name in _KNOBS[0]:
        generate[name] = tf.constant([_KNOBS[row % len(_KNOBS)][name] for row in range(rows)])
    return {'serving_default': {'prefix': prefix}, 'generate': generate}
