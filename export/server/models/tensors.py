"""Converts TensorProtos to tensors and back; checks them against the signature before it allocates memory."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.server import errors

# A TensorProto may have fewer values than elements; the last value then repeats: few bytes can allocate many.
_MOST_REPEATED = 4 * 2**20  # bytes
_STRING_SIZE = 24  # bytes that a string in a tensor takes at least

FIELDS = {
    tf.float32: 'float_val',
    tf.float64: 'double_val',
    tf.int8: 'int_val',
    tf.uint8: 'int_val',
    tf.int16: 'int_val',
    tf.int32: 'int_val',
    tf.int64: 'int64_val',
    tf.uint32: 'uint32_val',
    tf.uint64: 'uint64_val',
    tf.bool: 'bool_val',
    tf.string: 'string_val',
}
"""The field of a TensorProto that holds the values of a type."""


def parse_inputs(
    protos: Mapping[str, tensor_pb2.TensorProto], signature: meta_graph_pb2.SignatureDef
) -> dict[str, tf.Tensor]:
    """Returns the inputs of a request, or their defaults in the signature, as tensors. Raises `ServingError`."""
    _check_names(set(protos), signature)
    return {
        name: _parse(name, protos[name] if name in protos else signature.defaults[name], info)
        for name, info in signature.inputs.items()
    }


def to_proto(tensor: tf.Tensor) -> tensor_pb2.TensorProto:
    """Returns a TensorProto with the values in the field of their type, as TensorFlow Serving does for its clients."""
    array = tensor.numpy() if isinstance(tensor, tf.Tensor) else np.asarray(tensor)
    field = FIELDS.get(tensor.dtype)
    if field is None:
        return tf.make_tensor_proto(array, tensor.dtype, tensor.shape)
    proto = tensor_pb2.TensorProto(dtype=tensor.dtype.as_datatype_enum, tensor_shape=tensor.shape.as_proto())
    getattr(proto, field).extend(np.ravel(array).tolist())
    return proto


def _check_names(sent: set[str], signature: meta_graph_pb2.SignatureDef) -> None:
    expected = set(signature.inputs)
    extra, missing = sorted(sent - expected), sorted(expected - sent - set(signature.defaults))
    if extra or missing:
        raise errors.invalid(
            f'input size does not match signature: {len(sent)}!={len(expected)} '
            f'len({{{",".join(sorted(sent))}}}) != len({{{",".join(sorted(expected))}}}). '
            f'Sent extra: {{{",".join(extra)}}}. Missing but required: {{{",".join(missing)}}}.'
        )


def _parse(name: str, proto: tensor_pb2.TensorProto, info: meta_graph_pb2.TensorInfo) -> tf.Tensor:
    if proto.dtype != info.dtype:
        raise errors.invalid(
            f'input {name!r} must be {_dtype_name(info.dtype)}, but {_dtype_name(proto.dtype)} was sent.'
        )
    dtype = tf.as_dtype(info.dtype)
    _check_size(name, proto, _check_shape(name, proto, info), dtype)
    try:
        return tf.io.parse_tensor(proto.SerializeToString(), dtype)
    except (tf.errors.OpError, ValueError) as error:
        raise errors.invalid(f'tensor parsing error: {name}') from error


def _check_shape(name: str, proto: tensor_pb2.TensorProto, info: meta_graph_pb2.TensorInfo) -> int:
    """Returns the number of elements of the shape."""
    dims = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(dims, default=0) < 0:
        raise errors.invalid(f'input {name!r} must have a fully known shape; {dims} was sent.')
    declared = [dim.size for dim in info.tensor_shape.dim]
    if not info.tensor_shape.unknown_rank and (
        len(dims) != len(declared) or any(want not in (-1, have) for want, have in zip(declared, dims, strict=True))
    ):
        shape = str([size if size >= 0 else None for size in declared]).replace('None', '?')
        raise errors.invalid(f'input {name!r} must have the shape {shape}; {dims} was sent.')
    return math.prod(dims)


def _check_size(name: str, proto: tensor_pb2.TensorProto, elements: int, dtype: tf.DType) -> None:
    if proto.tensor_content:
        # A string takes at least the byte of its length.
        smallest = elements if dtype == tf.string else elements * dtype.size
        fits = len(proto.tensor_content) >= smallest if dtype == tf.string else len(proto.tensor_content) == smallest
    else:
        values = getattr(proto, FIELDS[dtype]) if dtype in FIELDS else []
        last = max(_STRING_SIZE, len(values[-1]) if values else 0) if dtype == tf.string else dtype.size
        fits = len(values) == elements or (len(values) < elements <= _MOST_REPEATED // last)
    if not fits:
        raise errors.invalid(f'tensor parsing error: {name}: its values do not fill {elements} elements.')


def _dtype_name(enum: int) -> str:
    try:
        return tf.as_dtype(enum).name
    except TypeError:
        return f'an unknown type ({enum})'
