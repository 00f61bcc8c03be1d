"""A loaded version of a model."""

import collections
import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping

import grpc
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from export.artifact import streaming, versions
from export.artifact.text_request import TextRequest
from export.server import errors
from export.server.errors import ServingError
from export.server.models import batching, tensors
from export.server.options import BatchingOptions

DEFAULT_SIGNATURE = 'serving_default'

_TAG = 'serve'
_MOST_WARMUP_RECORDS = 1000  # as in TensorFlow Serving


class Servable:
    """A loaded version of a model.

    Attributes:
      name: of the model.
      version: its number.
      directory: the SavedModel.
      signatures: the SignatureDefs of the SavedModel, by name.
      description: assets.extra/charrnn.json; empty if the SavedModel does not have it.
    """

    def __init__(
        self,
        name: str,
        version: int,
        directory: pathlib.Path,
        batches: BatchingOptions | None = None,
        max_rows: int = 1024,
    ):
        """Loads the SavedModel in `directory`.

        Args:
          name: of the model.
          version: its number.
          directory: the SavedModel.
          batches: batching of the signatures whose rows the artifact can check alone; None: no batching.
          max_rows: limit on the rows of a request.

        Raises:
          OSError, ValueError, a TensorFlow error: it cannot be loaded.
        """
        self.name = name
        self.version = version
        self.directory = directory
        self.signatures: Mapping[str, meta_graph_pb2.SignatureDef] = _meta_graph(directory).signature_def
        self.description = _description(directory)
        self._loaded = tf.saved_model.load(str(directory), tags=[_TAG])
        self._batches = batches
        self._max_rows = max_rows
        self._batched = (
            {signature: self._batch(signature, batches) for signature in self._can_share()} if batches else {}
        )

    @property
    def can_stream(self) -> bool:
        """Whether `:generate_stream` works: it needs a description in our format and the signature `step`."""
        return streaming.has_format(self.description) and 'step' in self.signatures

    def stream(self, request: TextRequest, num_candidates: int = 0) -> Iterator[dict]:
        """Yields the events of `Streamer.characters` for a request that was checked; the servable can stream.

        Raises:
          ServingError: TensorFlow fails.
        """
        try:
            yield from self._streamer.characters(request, num_candidates)
        except tf.errors.OpError as error:
            raise errors.from_tensorflow(error) from error

    @functools.cached_property
    def _streamer(self) -> streaming.Streamer:
        return streaming.Streamer(self._loaded.signatures['step'], self.description)

    def call(self, signature: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Runs a signature on these inputs without batching. Raises `ServingError`."""
        self._signature(signature)
        return _answer(self._loaded.signatures[signature], inputs)

    def check(self, signature: str, inputs: Mapping[str, tf.Tensor]) -> None:
        """Raises `ServingError` if the check function of the artifact, if there is one, refuses a row."""
        check = getattr(self._loaded, f'check_{signature}', None)
        if check is not None:
            _answer(check, inputs)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Answers a request, perhaps in one batch with others. Raises `ServingError`."""
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = self._signature(name)
        wanted = _wanted(request, signature)
        inputs = tensors.parse_inputs(request.inputs, signature)
        self._check_rows(inputs)
        self.check(name, inputs)
        outputs = _answer(self._batched[name], inputs) if self._shares(name, inputs) else self.call(name, inputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = name
        for output in wanted:
            response.outputs[output].CopyFrom(tensors.to_proto(outputs[output]))
        return response

    def _signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        if name not in self._loaded.signatures:  # the initialiser of the graph also has a SignatureDef
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def allows(self, request: predict_pb2.PredictRequest) -> bool:
        """Returns whether no input has more rows than `max_rows`."""
        shapes = (proto.tensor_shape.dim for proto in request.inputs.values())
        return all(not shape or shape[0].size <= self._max_rows for shape in shapes)

    def _check_rows(self, inputs: Mapping[str, tf.Tensor]) -> None:
        for name, tensor in inputs.items():
            if tensor.shape.rank and tensor.shape[0] > self._max_rows:
                raise errors.invalid(
                    f'input {name!r} has {tensor.shape[0]} rows; --max_rows of this server is {self._max_rows}: '
                    'send several requests.'
                )

    def _can_share(self) -> list[str]:
        checked = [name for name in self.signatures if hasattr(self._loaded, f'check_{name}')]
        return [name for name in checked if batching.can_share(self.signatures[name])]

    def _batch(self, name: str, options: BatchingOptions) -> Callable[..., dict[str, tf.Tensor]]:
        label = f'{self.name}/{self.version}/{name}'
        return batching.batched(self._loaded.signatures[name], self.signatures[name], label, options)

    def _shares(self, name: str, inputs: Mapping[str, tf.Tensor]) -> bool:
        """Returns whether a request fits into a batch; the check of the artifact has compared the numbers of rows."""
        if self._batches is None or name not in self._batched:
            return False
        return 0 < next(iter(inputs.values())).shape[0] <= self._batches.max_batch_size


def _answer(function: Callable[..., dict[str, tf.Tensor]], inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    try:
        return function(**inputs)
    except tf.errors.OpError as error:
        raise errors.from_tensorflow(error) from error


def _wanted(request: predict_pb2.PredictRequest, signature: meta_graph_pb2.SignatureDef) -> list[str]:
    """Returns the names of the requested outputs; a request that names none gets all."""
    wanted = list(request.output_filter)
    for name in wanted:
        if name not in signature.outputs:
            raise errors.invalid(
                f'output tensor alias not found in signature: {name} Outputs expected to be in the set '
                f'{{{",".join(sorted(signature.outputs))}}}.'
            )
        if wanted.count(name) > 1:
            raise errors.invalid(f'duplicate output tensor alias: {name}')
    return wanted or sorted(signature.outputs)


def _meta_graph(directory: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    path = directory / versions.SAVED_MODEL
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except message.DecodeError as error:
        raise ValueError(f'{path} is damaged: it cannot be read as a SavedModel') from error
    for meta_graph in saved_model.meta_graphs:
        if _TAG in meta_graph.meta_info_def.tags:
            return meta_graph
    raise ValueError(f'{directory} has no graph with the tag {_TAG!r}')


def _description(directory: pathlib.Path) -> dict:
    path = directory / versions.DESCRIPTION
    return json.loads(path.read_text('utf-8')) if path.exists() else {}


def warm_up(servable: Servable) -> int:
    """Runs the warm-up requests of the SavedModel, but those that no client may send; returns their number.

    Raises:
      ServingError, ValueError: a request fails, or a record is not a predict request.
    """
    path = servable.directory / versions.WARMUP_REQUESTS
    if not path.exists():
        return 0
    count = 0
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        count += 1
        if count > _MOST_WARMUP_RECORDS:
            raise ValueError(f'Number of warmup records exceeds the maximum ({_MOST_WARMUP_RECORDS}) at {path}')
        request = _request(record, path)
        if servable.allows(request):
            servable.predict(request)
    return count


def warm_up_stream(servable: Servable) -> None:
    """Runs a short stream, so that the first request does not wait for tracing; nothing if the model cannot stream."""
    if servable.can_stream:
        first = servable.description['vocabulary'][0]
        collections.deque(servable.stream(TextRequest(first, length=2, temperature=1.0, top_k=1)), maxlen=0)


def _request(record: bytes, path: pathlib.Path) -> predict_pb2.PredictRequest:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except message.DecodeError as error:
        raise ValueError(f'Failed to parse warmup record from {path}') from error
    if log.WhichOneof('log_type') != 'predict_log':
        raise ValueError(f'{path} has a warmup record that is not a predict request')
    return log.predict_log.request
