"""One loaded version of a model: what a SavedModel's signatures answer."""

import json
import pathlib
from collections.abc import Mapping

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from export.server import errors
from export.server.errors import ServingError

_TAG = 'serve'


class Servable:
    """A version of a model, loaded.

    Attributes:
      name: the model's name.
      version: its version.
      directory: where it was loaded from.
      signatures: name -> SignatureDef, as the SavedModel has them.
      description: what assets.extra/charrnn.json says, where there is one.
    """

    def __init__(self, name: str, version: int, directory: pathlib.Path):
        """Loads it. Raises `OSError`, `ValueError` or a TensorFlow error where that cannot be done."""
        self.name = name
        self.version = version
        self.directory = directory
        self.signatures: Mapping[str, meta_graph_pb2.SignatureDef] = _meta_graph(directory).signature_def
        self.description = _description(directory)
        self._loaded = tf.saved_model.load(str(directory), tags=[_TAG])

    def call(self, signature: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The signature's outputs for these inputs, alone in their batch. Raises `ServingError`."""
        try:
            return self._function(signature)(**inputs)
        except tf.errors.OpError as error:
            raise errors.from_tensorflow(error) from error

    def has_check(self, signature: str) -> bool:
        """Whether the artifact can say by itself, before it runs, that rows are good."""
        return hasattr(self._loaded, f'check_{signature}')

    def check(self, signature: str, inputs: Mapping[str, tf.Tensor]) -> None:
        """Raises `ServingError` where the artifact's own check refuses a row; nothing where it has no check."""
        if not self.has_check(signature):
            return
        try:
            getattr(self._loaded, f'check_{signature}')(**inputs)
        except tf.errors.OpError as error:
            raise errors.from_tensorflow(error) from error

    def _function(self, signature: str):
        if signature not in self.signatures:
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        return self._loaded.signatures[signature]


def _meta_graph(directory: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    saved_model = saved_model_pb2.SavedModel.FromString((directory / 'saved_model.pb').read_bytes())
    for meta_graph in saved_model.meta_graphs:
        if _TAG in meta_graph.meta_info_def.tags:
            return meta_graph
    raise ValueError(f'{directory} has no graph with the tag {_TAG!r}')


def _description(directory: pathlib.Path) -> dict | None:
    path = directory / 'assets.extra' / 'charrnn.json'
    return json.loads(path.read_text('utf-8')) if path.exists() else None
