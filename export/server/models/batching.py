"""Runs concurrent requests in one batch, with TensorFlow's batching kernel around the function of a signature.

The kernel keeps threads and queues by name until the process ends, and a queue runs the function that was registered
last. So all signatures share one pool of threads, which a reload does not enlarge, and each signature of each loaded
version has its own queue. The kernel also keeps the graph, but not the weights, of each function that it has run: the
process grows by some MB per reload.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from export.server.options import BatchingOptions

_QUEUE_NUMBERS = itertools.count()


def can_share(signature: meta_graph_pb2.SignatureDef) -> bool:
    """Returns whether rows of several requests can form a batch: the first dimension of all tensors is that of rows.

    The other dimensions of inputs must be known. Outputs may be padded to the longest row.
    """
    inputs, outputs = (
        [None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim] for info in tensors]
        for tensors in (signature.inputs.values(), signature.outputs.values())
    )
    return all(shape and shape[0] == -1 for shape in inputs + outputs) and all(-1 not in s[1:] for s in inputs if s)


def _without_padding(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Removes the columns of `score`'s log probabilities that only rows of other requests need."""
    if not {'log_probabilities', 'num_characters'} <= outputs.keys():
        return outputs
    longest = tf.reduce_max(outputs['num_characters'])
    return outputs | {'log_probabilities': outputs['log_probabilities'][:, :longest]}


def batched(
    function: Callable[..., Mapping[str, tf.Tensor]],
    signature: meta_graph_pb2.SignatureDef,
    label: str,
    options: BatchingOptions,
) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns `function` with the rows of concurrent calls in one batch; `label` names its new queue."""
    inputs, outputs = sorted(signature.inputs), sorted(signature.outputs)
    queue = f'{label}#{next(_QUEUE_NUMBERS)}'
    specs = [tf.TensorSpec(signature.inputs[n].tensor_shape, signature.inputs[n].dtype, n) for n in inputs]

    def flat(*rows: tf.Tensor) -> Sequence[tf.Tensor]:
        found = function(**dict(zip(inputs, rows, strict=True)))
        return [found[name] for name in outputs]

    computation = tf.function(flat, input_signature=specs, autograph=False).get_concrete_function()

    def enqueue(*rows: tf.Tensor) -> Sequence[tf.Tensor]:
        return tf.raw_ops.BatchFunction(
            in_tensors=rows,
            captured_tensors=computation.captured_inputs,
            f=computation,
            Tout=[tensor.dtype for tensor in computation.outputs],
            shared_name=options.pool,
            batching_queue=queue,
            **dataclasses.asdict(options),
        )

    waiting = tf.function(enqueue, input_signature=specs, autograph=False).get_concrete_function()
    return lambda **rows: _without_padding(dict(zip(outputs, waiting(*(rows[name] for name in inputs)), strict=True)))
