"""An exported model that is loaded into this process, asked for texts."""

import pathlib
from collections.abc import Sequence

import tensorflow as tf

from data.errors import InputError
from export.artifact import assertions
from export.artifact.text_request import GeneratedText, TextRequest
from export.artifact.versions import newest_version


class LocalModel:
    """The newest version under `model_dir`, or the one that it is. Raises `InputError` where there is no model."""

    def __init__(self, model_dir: pathlib.Path):
        version_dir = newest_version(model_dir)
        try:
            self._loaded = tf.saved_model.load(str(version_dir))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise InputError(f'{version_dir} cannot be loaded: {str(error).splitlines()[0]}') from error
        if 'generate' not in self._loaded.signatures:
            raise InputError(f'{version_dir} has no signature "generate": it is not a model of this project.')

    def generate(self, requests: Sequence[TextRequest]) -> list[GeneratedText]:
        """The texts for some requests. Raises `InputError` with the model's own words if it refuses a value."""
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
        # By way of str: the digits that a float32 has, not those that a float64 of the same value shows.
        return [GeneratedText(text.decode(), float(str(log_likelihood))) for text, log_likelihood in pairs]
