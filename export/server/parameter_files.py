"""TensorFlow Serving's files of batching and of monitoring parameters, in text form.

Its package does not include the messages BatchingParameters and MonitoringConfig, so they are defined here.
"""

import dataclasses
import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from data.errors import InputError
from export.server.options import METRICS_PATH, BatchingOptions

_Field = descriptor_pb2.FieldDescriptorProto
_INTEGER = f'.{wrappers_pb2.Int64Value.DESCRIPTOR.full_name}'
_IGNORED_INTEGERS = ('max_execution_batch_size',)
_BOOLEAN = f'.{wrappers_pb2.BoolValue.DESCRIPTOR.full_name}'


def read_batching(path: pathlib.Path) -> tuple[dict[str, int], list[str]]:
    """Reads --batching_parameters_file.

    Returns:
      The values of fields of `BatchingOptions`, and the names of the parameters that have no effect here.

    Raises:
      InputError: the file cannot be read, or has a field that BatchingParameters does not have.
    """
    parameters = _read('batching_parameters_file', path, 'BatchingParameters')
    given = {field.name for field, _ in parameters.ListFields()}
    own = [field.name for field in dataclasses.fields(BatchingOptions) if field.name in given]
    return {name: getattr(parameters, name).value for name in own}, sorted(given.difference(own))


def read_metrics_path(path: pathlib.Path) -> str | None:
    """Returns the path of the metrics in --monitoring_config_file; None: no metrics. Raises `InputError`."""
    prometheus = _read('monitoring_config_file', path, 'MonitoringConfig').prometheus_config  # type: ignore[attr-defined]
    if not prometheus.enable:
        return None
    found = prometheus.path or METRICS_PATH
    if not found.startswith('/'):
        raise InputError(f'monitoring_config_file {str(path)!r}: path {found!r} must begin with a slash.')
    return found


def _read(flag: str, path: pathlib.Path, name: str) -> Message:
    message = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f'charrnn.{name}'))()
    try:
        return text_format.Parse(path.read_text('utf-8'), message)
    except (OSError, ValueError, text_format.ParseError) as error:
        raise InputError(f'{flag} {str(path)!r} cannot be read: {error}') from error


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name='charrnn.proto', package='charrnn', syntax='proto3')
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    batching = file.message_type.add(name='BatchingParameters')
    integers = [field.name for field in dataclasses.fields(BatchingOptions)]
    for name in (*integers, *_IGNORED_INTEGERS):
        _add(batching, name, _Field.TYPE_MESSAGE, _INTEGER)
    _add(batching, 'pad_variable_length_inputs', _Field.TYPE_BOOL)
    _add(batching, 'enable_large_batch_splitting', _Field.TYPE_MESSAGE, _BOOLEAN)
    _add(batching, 'thread_pool_name', _Field.TYPE_MESSAGE, f'.{wrappers_pb2.StringValue.DESCRIPTOR.full_name}')
    _add(batching, 'allowed_batch_sizes', _Field.TYPE_INT64, label=_Field.LABEL_REPEATED)
    prometheus = file.message_type.add(name='PrometheusConfig')
    _add(prometheus, 'enable', _Field.TYPE_BOOL)
    _add(prometheus, 'path', _Field.TYPE_STRING)
    monitoring = file.message_type.add(name='MonitoringConfig')
    _add(monitoring, 'prometheus_config', _Field.TYPE_MESSAGE, '.charrnn.PrometheusConfig')
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    kind: Any,
    type_name: str | None = None,
    label: Any = _Field.LABEL_OPTIONAL,
) -> None:
    message.field.add(name=name, number=len(message.field) + 1, type=kind, type_name=type_name, label=label)


_POOL = _pool()
