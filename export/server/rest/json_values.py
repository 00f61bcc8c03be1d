"""JSON values <-> TensorProtos."""

import base64
import binascii
import json
import math
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from export.server import errors
from export.server.errors import ServingError

_DEEPEST = 32  # levels of lists in a tensor
_SHOWN = 256  # characters of a value in an error
_NAMES = {tf.float32: 'float', tf.float64: 'double'}
_FLOATS = {tf.float32: 'float_val', tf.float64: 'double_val'}
_INTEGERS = {
    tf.int8: 'int_val',
    tf.uint8: 'int_val',
    tf.int16: 'int_val',
    tf.int32: 'int_val',
    tf.uint32: 'uint32_val',
    tf.int64: 'int64_val',
    tf.uint64: 'uint64_val',
}


def shape_of(value: Any) -> tuple[int, ...]:
    """As the first elements have it."""
    sizes = []
    while isinstance(value, list):
        sizes.append(len(value))
        if len(sizes) > _DEEPEST:
            raise errors.invalid(f'lists are nested more than {_DEEPEST} deep')
        if not value:
            break
        value = value[0]
    return tuple(sizes)


def flatten(value: Any, shape: tuple[int, ...], dtype: tf.DType, level: int = 0) -> list:
    """The values at the leaves, converted; every list has the size that `shape` says."""
    if not isinstance(value, list):
        if level != len(shape):
            raise errors.invalid(
                f'JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. '
                f'Expected at level: {len(shape)}'
            )
        return [_scalar(value, dtype)]
    if level >= len(shape):
        raise errors.invalid(f'Encountered list at unexpected level: {level} expected < {len(shape)}')
    if len(value) != shape[level]:
        raise errors.invalid(
            f'Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}'
        )
    return [leaf for element in value for leaf in flatten(element, shape, dtype, level + 1)]


def _scalar(value: Any, dtype: tf.DType) -> bool | int | float | bytes:
    """A JSON value as one of `dtype`. Raises `ServingError`."""
    if dtype == tf.string and isinstance(value, dict):
        return _base64(value)
    if dtype == tf.string and isinstance(value, str):
        return value.encode()
    if dtype == tf.bool and isinstance(value, bool):
        return value
    if dtype in _INTEGERS and type(value) is int and dtype.min <= value <= dtype.max:
        return value
    if dtype in _FLOATS and type(value) in (int, float) and _fits(value, dtype):
        return float(value)
    if dtype not in {tf.string, tf.bool, *_INTEGERS, *_FLOATS}:
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED,
            f'Conversion of JSON Value: {shown(value)} to type: {dtype.name}',
        )
    raise errors.invalid(
        f'JSON Value: {shown(value)} Type: {_type_name(value)} is not of expected type: {_NAMES.get(dtype, dtype.name)}'
    )


def _fits(value: float, dtype: tf.DType) -> bool:
    """Whether a number is in the type's range. NaN and infinity are, where somebody writes them."""
    return (isinstance(value, float) and not math.isfinite(value)) or abs(value) <= float(dtype.max)


def _base64(value: dict) -> bytes:
    if not _is_base64(value):
        raise errors.invalid(f'JSON Value: {shown(value)} not formatted correctly for base64 data')
    text = value['b64'].rstrip('=')
    try:
        return base64.b64decode(text + '=' * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise errors.invalid('Unable to base64 decode') from error


def to_proto(shape: tuple[int, ...], flat: list, dtype: tf.DType) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    field = {tf.string: 'string_val', tf.bool: 'bool_val', **_INTEGERS, **_FLOATS}.get(dtype)
    if field:
        getattr(proto, field).extend(flat)
    return proto


def from_proto(name: str, proto: tensor_pb2.TensorProto) -> Any:
    """A tensor as nested lists. Floats are the shortest that read back the same; `_bytes` are base64."""
    array = tf.make_ndarray(proto)
    if proto.dtype == tf.string.as_datatype_enum:
        convert = _to_base64 if name.endswith('_bytes') else lambda text: text.decode('utf-8', 'replace')
        array = np.array([convert(text) for text in array.ravel()], object).reshape(array.shape)
    elif array.dtype.kind == 'f' and array.dtype.itemsize < 8:
        array = array.astype(str).astype(np.float64)
    elif array.dtype.kind not in 'fiub':
        raise errors.invalid(f'Failed to write JSON value for tensor type: {tf.as_dtype(proto.dtype).name}')
    return array.tolist()


def _to_base64(value: bytes) -> dict[str, str]:
    return {'b64': base64.b64encode(value).decode()}


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get('b64'), str)


def is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _type_name(value: Any) -> str:
    if value is None:
        return 'Null'
    if isinstance(value, bool):
        return str(value)
    return {dict: 'Object', list: 'Array', str: 'String'}.get(type(value), 'Number')


def shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):  # too deep, or an integer too long to be written
        return '…'
    return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}…'
