"""Converts the JSON of TensorFlow Serving's REST API to TensorProtos and back, in pure functions.

Error texts are TensorFlow Serving's if it has one. This server is stricter in two points: text after the JSON object is
an error, and so is a number outside the range of its type, which TensorFlow Serving makes infinite or wraps around.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.server import errors
from export.server.errors import ServingError
from export.server.rest import json_values

ROWS = 'instances'
COLUMNS = 'inputs'

Inputs = Mapping[str, meta_graph_pb2.TensorInfo]


def parse_body(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a body. Raises `ServingError` for anything else."""
    if not body:
        raise errors.invalid('JSON Parse error: The document is empty')
    try:
        text = body.decode('utf-8-sig')
        document = json.loads(text, parse_float=_finite_float)
        if re.search(r'\\u[dD][89a-fA-F]', text):  # UTF-8 cannot encode a lone surrogate
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError as error:
        raise errors.invalid('JSON Parse error: nested too deeply') from error
    except ValueError as error:  # of JSON or UTF-8
        raise errors.invalid(f'JSON Parse error: {error}') from error
    if not isinstance(document, dict):
        raise errors.invalid(f'JSON Value: {json_values.shown(document)} Is not object')
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """Returns the signature that a request names, or ''. Raises `ServingError`."""
    name = document.get('signature_name', '')
    if not isinstance(name, str):
        raise errors.invalid(
            f"JSON Value: {json_values.shown(document)} not formatted correctly. 'signature_name' key must be a "
            'string value.'
        )
    return name


def parse_inputs(document: Mapping[str, Any], inputs: Inputs) -> tuple[str, dict[str, tensor_pb2.TensorProto]]:
    """Returns the format of a request, `ROWS` or `COLUMNS`, and its tensors. Raises `ServingError`."""
    if ROWS in document and COLUMNS in document:
        raise errors.invalid(
            f'JSON Value: {json_values.shown(document)} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist "
        )
    if ROWS in document:
        return ROWS, _from_rows(document[ROWS], document, inputs)
    if COLUMNS in document:
        return COLUMNS, _from_columns(document[COLUMNS], inputs)
    raise errors.invalid("Missing 'inputs' or 'instances' key")


def _from_rows(rows: Any, document: Mapping[str, Any], inputs: Inputs) -> dict[str, tensor_pb2.TensorProto]:
    if not isinstance(rows, list):
        raise errors.invalid(f"JSON Value: {json_values.shown(document)} Expecting 'instances' to be an list/array")
    if not rows:
        raise errors.invalid(f"JSON Value: {json_values.shown(document)} No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(inputs) > 1:
        raise errors.invalid(
            'instances is a plain list, but expecting list of objects as multiple input tensors required as per '
            'tensorinfo_map'
        )
    if json_values.is_object(rows[0]):
        columns = _columns_of_objects(rows, inputs)
    else:
        for item, row in enumerate(rows):
            if json_values.is_object(row):
                raise errors.invalid(f'Expecting value/list but got object at item {item} of input list')
        columns = {next(iter(inputs)): rows}
    return {name: _rows_proto(name, values, inputs) for name, values in columns.items()}


def _columns_of_objects(rows: list, inputs: Inputs) -> dict[str, list]:
    expected = set(inputs)
    for item, row in enumerate(rows):
        if not json_values.is_object(row):
            raise errors.invalid(f'Expecting object but got list at item {item} of input list')
        for name in row:
            if name not in expected:
                raise _element_error(item, f'INVALID_ARGUMENT: JSON object: does not have named input: {name}', name)
        if row.keys() != expected:
            raise errors.invalid(
                f"Failed to process element: {item} of 'instances' list. JSON object: "
                f'{json_values.shown(row)} keys must be equal to: {",".join(sorted(expected))}'
            )
    return {name: [row[name] for row in rows] for name in inputs}


def _rows_proto(name: str, values: list, inputs: Inputs) -> tensor_pb2.TensorProto:
    """Stacks the values of the rows, which must all have the shape of the first."""
    key = name if len(inputs) > 1 else ''
    dtype = tf.as_dtype(inputs[name].dtype)
    shape: tuple[int, ...] | None = None
    flat: list = []
    for item, value in enumerate(values):
        try:
            found = json_values.shape_of(value)
            flat += json_values.flatten(value, found, dtype)
        except ServingError as error:
            raise _element_error(item, f'INVALID_ARGUMENT: {error.message}', key) from error
        if shape is not None and found != shape:
            shown = [str(list(s)).replace(' ', '') for s in (shape, found)]
            raise _element_error(item, f'INVALID_ARGUMENT: Expecting shape {shown[0]} but got: {shown[1]}', key)
        shape = found
    return json_values.to_proto((len(values), *(shape or ())), flat, dtype)


def _from_columns(columns: Any, inputs: Inputs) -> dict[str, tensor_pb2.TensorProto]:
    if not json_values.is_object(columns):
        if len(inputs) > 1:
            raise errors.invalid(
                'inputs is a plain value/list, but expecting an object as multiple input tensors required as per '
                'tensorinfo_map'
            )
        columns = {next(iter(inputs)): columns}
    protos = {}
    for name, info in inputs.items():
        if name not in columns:
            raise errors.invalid(f"Missing named input: {name} in 'inputs' object.")
        dtype = tf.as_dtype(info.dtype)
        try:
            shape = json_values.shape_of(columns[name])
            protos[name] = json_values.to_proto(shape, json_values.flatten(columns[name], shape, dtype), dtype)
        except ServingError as error:
            raise errors.invalid(f'{error.message}, input: {name}') from error
    return protos


def format_outputs(outputs: Mapping[str, tensor_pb2.TensorProto], layout: str) -> bytes:
    """Returns the body of an answer: `predictions` for `ROWS`, `outputs` for `COLUMNS`. Raises `ServingError`."""
    values = {name: json_values.from_proto(name, proto) for name, proto in sorted(outputs.items())}
    if layout == COLUMNS:
        return dump({'outputs': values if len(values) > 1 else next(iter(values.values()))})
    _check_rows(outputs)
    if len(values) == 1:
        return dump({'predictions': next(iter(values.values()))})
    rows = zip(*values.values(), strict=True)
    return dump({'predictions': [dict(zip(values, row, strict=True)) for row in rows]})


def dump(document: Any) -> bytes:
    """Returns JSON in UTF-8, with the literals NaN and Infinity, as TensorFlow Serving writes them."""
    return json.dumps(document, ensure_ascii=False).encode('utf-8', 'replace')


def _check_rows(outputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    rows = None
    for name, proto in sorted(outputs.items()):
        if not proto.tensor_shape.dim:
            raise errors.invalid(f'Tensor name: {name} has no shape information ')
        size = proto.tensor_shape.dim[0].size
        if rows not in (None, size):
            raise errors.invalid(f'Tensor name: {name} has inconsistent batch size: {size} expecting: {rows}')
        rows = size


def _element_error(item: int, message: str, key: str = '') -> ServingError:
    named = f' key: {key}' if key else ''
    return errors.invalid(f"Failed to process element: {item}{named} of 'instances' list. Error: {message}")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f'Number too big to be stored in double: {text[:40]}')
    return value
