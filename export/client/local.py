"""An exported model, loaded into this process."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from data.errors import InputError
from export.artifact import assertions, streaming
from export.artifact.description import FORMAT
from export.artifact.text_request import GeneratedText, Request, TextRequest
from export.artifact.versions import DESCRIPTION, newest_version
from pipeline.generate import SIGNATURE


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
        path = version_dir / DESCRIPTION
        self._description = _description(path)
        if not streaming.has_format(self._description):
            raise InputError(
                f'{path} does not have format {FORMAT}, which this version reads: export the run again with python -m '
                f'export.saved_model.'
            )

    def generate(self, requests: Sequence[Request]) -> list[GeneratedText]:
        """Returns a text per request; all are for one signature.

        Raises:
          InputError: the model refuses a value; the message is its own.
        """
        answer = self._call(self._loaded.signatures[requests[0].signature], requests)
        pairs = zip(answer['text'].numpy(), answer['log_likelihood'].numpy(), strict=True)
        # str() gives the shortest digits of a float32; float() alone would show those of the float64.
        return [GeneratedText(text.decode(), float(str(log_likelihood))) for text, log_likelihood in pairs]

    def stream(self, request: TextRequest) -> Iterator[str]:
        """Returns the added characters as they are generated. Raises `InputError` as `generate`."""
        self._call(self._loaded.check_generate, [request])
        events = self._streamer.characters(request)
        return (event['data']['text'] for event in events if event['event'] is None)

    @functools.cached_property
    def _streamer(self) -> streaming.Streamer:
        return streaming.Streamer(self._loaded.signatures['step'], self._description)

    def _call(self, function: Callable[..., Any], requests: Sequence[Request]) -> Any:
        names = {field.name for field in dataclasses.fields(requests[0])}
        columns = {
            spec.name: tf.constant([getattr(request, spec.name) for request in requests], spec.dtype)
            for spec in SIGNATURE
            if spec.name in names
        }
        try:
            return function(**columns)
        except tf.errors.InvalidArgumentError as error:
            raise InputError(assertions.sentence(error.message)) from error


def _description(path: pathlib.Path) -> Any:
    """Returns the JSON in a file, {} if there is no file. Raises `InputError` if it cannot be read."""
    try:
        return json.loads(path.read_text('utf-8')) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InputError(
            f'{path} cannot be read: {error}. Export the run again with python -m export.saved_model.'
        ) from error
