"""Writes a version directory: the SavedModel, its description and its warm-up requests."""

import pathlib
import shutil
import tempfile

import tensorflow as tf

from data.errors import InputError
from data.vocabulary import Vocabulary
from export.artifact import description, versions, warmup
from export.artifact.artifact import Artifact
from export.artifact.sample_settings import SampleSettings
from pipeline.limits import Limits
from pipeline.model import CharRNN

_DEFAULT_LIMITS = Limits()


def export(
    model: CharRNN,
    vocabulary: Vocabulary,
    model_dir: pathlib.Path,
    default_length: int,
    limits: Limits = _DEFAULT_LIMITS,
    source: description.Source | None = None,
    settings: SampleSettings | None = None,
) -> pathlib.Path:
    """Writes the next version under `model_dir` and returns its directory, which appears only when it is complete.

    Args:
      model: the model with its weights.
      vocabulary: the vocabulary of the model.
      model_dir: directory of the versions; created if missing.
      default_length: number of characters that `serving_default` adds.
      limits: largest row of a request.
      source: the run of the weights, if any.
      settings: of the signature `sample`; None: the defaults, within the limits.

    Raises:
      InputError: `default_length` is above the limit, the model would refuse the settings, or `model_dir` cannot be
        written.
    """
    if default_length > limits.max_length:
        raise InputError(
            f"serving_default adds the run's sample_length={default_length} characters, above --max_length="
            f'{limits.max_length}: give a larger --max_length, or resume the run with a smaller --sample_length.'
        )
    settings = settings or SampleSettings(min(SampleSettings.sample_length, limits.max_length))
    _check(settings, limits, vocabulary)
    artifact = Artifact(model, vocabulary, default_length, limits, settings)
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        aside = pathlib.Path(tempfile.mkdtemp(prefix='writing-', dir=model_dir))  # not an integer: servers ignore it
        try:
            tf.saved_model.save(artifact, str(aside), artifact.signatures)
            description.write(aside, artifact, source)
            warmup.write(aside, artifact, model_dir.resolve().name, source.config.training.prefixes if source else ())
            aside.chmod(0o755)  # mkdtemp gives 0o700, but a server often runs as another user
            return versions.add(aside, model_dir)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(
            f'model_dir {str(model_dir)!r} cannot be written: {str(error).splitlines()[0]}. Make room or use another '
            f'--model_dir.'
        ) from error


def _check(settings: SampleSettings, limits: Limits, vocabulary: Vocabulary) -> None:
    """Raises `InputError` for settings of `sample` that the model would refuse."""
    length, stop = settings.sample_length, settings.sample_stop
    if length > limits.max_length:
        raise InputError(
            f'sample_length={length} is above max_length={limits.max_length}, the limit of a request: lower '
            f'--sample_length or raise --max_length.'
        )
    if len(stop) > limits.max_length:
        raise InputError(
            f'sample_stop has {len(stop)} characters, above max_length={limits.max_length}: give a shorter '
            f'--sample_stop.'
        )
    if vocabulary.unknown_id in vocabulary.encode(stop, 'sample_stop'):
        raise InputError(
            f'sample_stop={stop!r} contains a character that the model cannot generate: give another --sample_stop.'
        )
