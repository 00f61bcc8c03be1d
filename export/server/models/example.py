"""An example of a request that a model answers, to paste into a shell."""

import json
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from export.artifact import streaming
from export.server.models.servable import DEFAULT_SIGNATURE, Servable


def body(servable: Servable) -> str:
    """Returns JSON without single quotes, so that a shell accepts it between single quotes."""
    called = [name for name, signature in servable.signatures.items() if signature.inputs]
    name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in called else min(called, default=DEFAULT_SIGNATURE)
    inputs = servable.signatures[name].inputs
    prefix = text(servable.description)
    values = {key: _value(info, prefix) for key, info in sorted(inputs.items())}
    request: dict[str, Any] = {} if name == DEFAULT_SIGNATURE else {'signature_name': name}
    request['inputs'] = values if len(values) != 1 else next(iter(values.values()))
    return json.dumps(request, ensure_ascii=False).replace("'", '\\u0027')


def text(description: dict) -> str:
    """Returns a prefix that the model accepts: one from training, or the first character of its vocabulary."""
    if not streaming.has_format(description):
        return ''
    vocabulary, longest = description['vocabulary'], description['limits']['max_prefix']
    prefixes = description['config']['prefixes'] if description['config'] else []
    return next((p for p in prefixes if 0 < len(p) <= longest and set(p) <= set(vocabulary)), vocabulary[0])


def _value(info: meta_graph_pb2.TensorInfo, text: str) -> Any:
    """Returns a value with size 1 in each unknown dimension."""
    dtype = tf.as_dtype(info.dtype)
    value: Any = text if dtype == tf.string else False if dtype == tf.bool else 1.0 if dtype.is_floating else 1
    for dim in reversed(info.tensor_shape.dim):
        value = [value] * (dim.size if dim.size >= 0 else 1)
    return value
