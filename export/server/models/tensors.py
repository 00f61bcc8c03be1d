"""TensorProto <-> tensors, by a signature's declaration; checked before anything is allocated."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.server import errors

# A TensorProto may give fewer values than it has elements, the last one is repeated: few bytes sent, many allocated.
_MOST_REPEATED = 4 * 2**20  # bytes
_STRING_SIZE = 24  # bytes of a string in a tensor, however short

_FIELDS = {
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


def parse_inputs(
    protos: Mapping[str, tensor_pb2.TensorProto], signature: meta_graph_pb2.SignatureDef
) -> dict[str, tf.Tensor]:
    """A request's inputs as tensors; those it leaves out are the signature's defaults. Raises `ServingError`."""
    _check_names(set(protos), signature)
    return {
        name: _parse(name, protos[name] if name in protos else signature.defaults[name], info)
        for name, info in signature.inputs.items()
    }


def to_proto(tensor: tf.Tensor) -> tensor_pb2.TensorProto:
    """With its values in the field of their type, as TensorFlow Serving answers: some clients read that field."""
    array = tensor.numpy() if isinstance(tensor, tf.Tensor) else np.asarray(tensor)
    field = _FIELDS.get(tensor.dtype)
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
            f'input {name!r} has to be {_dtype_name(info.dtype)}, but {_dtype_name(proto.dtype)} was sent.'
        )
    dtype = tf.as_dtype(info.dtype)
    _check_size(name, proto, _check_shape(name, proto, info), dtype)
    try:
        return tf.io.parse_tensor(proto.SerializeToString(), dtype)
    except (tf.errors.OpError, ValueError) as error:
        raise errors.invalid(f'tensor parsing error: {name}') from error


def _check_shape(name: str, proto: tensor_pb2.TensorProto, info: meta_graph_pb2.TensorInfo) -> int:
    """How many elements the shape has."""
    dims = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(dims, default=0) < 0:
        raise errors.invalid(f'input {name!r} has to say its whole shape; {dims} was sent.')
    declared = [dim.size for dim in info.tensor_shape.dim]
    if not info.tensor_shape.unknown_rank and (
        len(dims) != len(declared) or any(want not in (-1, have) for want, have in zip(declared, dims, strict=True))
    ):
        shape = str([size if size >= 0 else None for size in declared]).replace('None', '?')
        raise errors.invalid(f'input {name!r} has to have the shape {shape}; {dims} was sent.')
    return math.prod(dims)


def _check_size(name: str, proto: tensor_pb2.TensorProto, elements: int, dtype: tf.DType) -> None:
    if proto.tensor_content:
        # A string takes at least the byte that says its length.
        smallest = elements if dtype == tf.string else elements * dtype.size
        fits = len(proto.tensor_content) >= smallest if dtype == tf.string else len(proto.tensor_content) == smallest
    else:
        values = getattr(proto, _FIELDS[dtype]) if dtype in _FIELDS else []
        last = max(_STRING_SIZE, len(values[-1]) if values else 0) if dtype == tf.string else dtype.size
        fits = len(values) == elements or (len(values) < elements <= _MOST_REPEATED // last)
    if not fits:
        raise errors.invalid(f'tensor parsing error: {name}: its values do not fill {elements} elements.')


def _dtype_name(enum: int) -> str:
    try:
        return tf.as_dtype(enum).name
    except TypeError:
        return f'an unknown type ({enum})'
