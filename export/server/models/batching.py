"""Requests that arrive together run together: TensorFlow's own batching kernel around a signature's function.

The kernel keeps its threads and queues by name for as long as the process lives, and whoever shares a queue gets the
answers of that queue's last function. So all signatures share one pool of threads (a reload adds none), and each loaded
version has a queue of its own for each of its signatures. The kernel also keeps the graph of each function that it has
ever run, though not its weights: a process grows by some MB with each reload.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from export.server.options import BatchingOptions

_QUEUE_NUMBERS = itertools.count()


def can_share(signature: meta_graph_pb2.SignatureDef) -> bool:
    """Whether rows of different requests fit together: all inputs and outputs are [rows] + the same known shape."""
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    shapes = [[dim.size for dim in info.tensor_shape.dim] for info in tensors if not info.tensor_shape.unknown_rank]
    return len(shapes) == len(tensors) and all(shape and shape[0] == -1 and -1 not in shape[1:] for shape in shapes)


def batched(
    function: Callable[..., Mapping[str, tf.Tensor]],
    signature: meta_graph_pb2.SignatureDef,
    label: str,
    options: BatchingOptions,
) -> Callable[..., dict[str, tf.Tensor]]:
    """`function`, with the rows of concurrent calls in one batch. `label` is for people; the queue is new each time."""
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
    return lambda **rows: dict(zip(outputs, waiting(*(rows[name] for name in inputs)), strict=True))
