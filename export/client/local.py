"""An exported model, loaded into this process."""

import pathlib
from collections.abc import Sequence

import tensorflow as tf

from data.errors import InputError
from export.artifact import assertions
from export.artifact.text_request import GeneratedText, TextRequest
from export.artifact.versions import newest_version


class LocalModel:
    """The newest version under a model directory, or one version directory."""

    def __init__(self, model_dir: pathlib.Path):
        """Loads the model. Raises `InputError` if there is none or it cannot be loaded."""
        version_dir = newest_version(model_dir)
        try:
            self._loaded = tf.saved_model.load(str(version_dir))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise InputError(f'{version_dir} cannot be loaded: {str(error).splitlines()[0]}') from error
        if 'generate' not in self._loaded.signatures:
            raise InputError(f'{version_dir} has no signature "generate": this project did not export it.')

    def generate(self, requests: Sequence[TextRequest]) -> list[GeneratedText]:
        """Returns a text per request. Raises `InputError` with the model's own message if it refuses a value."""
        signature = self._loaded.signatures['generate']
        columns = {
            name: tf.constant([getattr(request, name) for request in requests], spec.dtype)
            for name, spec in signature.structured_input_signature[1].items()
        }
        try:
            answer = signature(**columns)
        except tf.errors.InvalidArgumentError as error:
            raise InputError(assertions.sentence(error.message)) from error
        pairs = zip(answer['text'].numpy(), answer['log_likelihood'].numpy(), strict=True)
        # str() gives the shortest digits of a float32; float() alone would show those of the float64.
        return [GeneratedText(text.decode(), float(str(log_likelihood))) for text, log_likelihood in pairs]
