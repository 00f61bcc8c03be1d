"""Converts JSON values to TensorProtos and back."""

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
from export.server.models.tensors import FIELDS

_DEEPEST = 32  # levels of lists in a tensor
_SHOWN = 256  # characters of a value in an error
_NAMES = {tf.float32: 'float', tf.float64: 'double'}
# Sets, because the properties of a DType are slow and are needed for each value.
_INTEGERS = frozenset(dtype for dtype in FIELDS if dtype.is_integer)
_FLOATS = frozenset(dtype for dtype in FIELDS if dtype.is_floating)


def shape_of(value: Any) -> tuple[int, ...]:
    """Returns the shape of nested lists, as their first elements have it."""
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
    """Returns the converted leaves of nested lists. Raises `ServingError` if they do not have the shape `shape`."""
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
    """Converts a JSON value to `dtype`. Raises `ServingError`."""
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
    if dtype not in FIELDS:
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED,
            f'Conversion of JSON Value: {shown(value)} to type: {dtype.name}',
        )
    raise errors.invalid(
        f'JSON Value: {shown(value)} Type: {_type_name(value)} is not of expected type: {_NAMES.get(dtype, dtype.name)}'
    )


def _fits(value: float, dtype: tf.DType) -> bool:
    """Returns whether a number is in the range of the type; NaN and Infinity are."""
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
    if dtype in FIELDS:
        getattr(proto, FIELDS[dtype]).extend(flat)
    return proto


def from_proto(name: str, proto: tensor_pb2.TensorProto) -> Any:
    """Returns a tensor as nested lists: floats in their shortest exact form, outputs named `..._bytes` in base64."""
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
    names: dict[type, str] = {dict: 'Object', list: 'Array', str: 'String'}
    return names.get(type(value), 'Number')


def shown(value: Any) -> str:
    """Returns a value as JSON for an error message, cut if it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of too many digits
        return '…'
    return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}…'
