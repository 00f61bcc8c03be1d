"""Runs the requests that a version carries in assets.extra/tf_serving_warmup_requests, before it serves."""

import pathlib

import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from export.server.servable import Servable

_PATH = pathlib.PurePath('assets.extra', 'tf_serving_warmup_requests')
_MOST = 1000  # records, as in TensorFlow Serving


def warm_up(servable: Servable) -> int:
    """How many requests were run. Raises what the first failing one does, or `ValueError` where it is no request."""
    path = servable.directory / _PATH
    if not path.exists():
        return 0
    count = 0
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        count += 1
        if count > _MOST:
            raise ValueError(f'Number of warmup records exceeds the maximum ({_MOST}) at {path}')
        servable.predict(_request(record, path))
    return count


def _request(record: bytes, path: pathlib.Path):
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except message.DecodeError as error:
        raise ValueError(f'Failed to parse warmup record from {path}') from error
    if log.WhichOneof('log_type') != 'predict_log':
        raise ValueError(f'{path} has a warmup record that is no predict request')
    return log.predict_log.request
