"""The models to serve and the versions of each, from flags or from TensorFlow Serving's --model_config_file."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from data.errors import InputError
from data.files import tensorflow_path


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model and its served versions: the newest `latest`, or those in `specific`, or all (None, None)."""

    name: str
    base_path: pathlib.Path
    latest: int | None = 1
    specific: tuple[int, ...] | None = None
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def wanted(self, versions: Sequence[int]) -> list[int]:
        """Returns the versions to serve, a subset of `versions` in the same order."""
        if self.specific is not None:
            return [version for version in versions if version in self.specific]
        return list(versions) if self.latest is None else list(versions)[-self.latest :]


def single(name: str, base_path: str, policy: str) -> ModelConfig:
    """Returns the config of one model; `policy`: `latest` or `all`. Raises `InputError` if `name` is empty."""
    if not name:
        raise InputError('model_name is empty: set the name of the model in requests.')
    latest = 1 if policy == 'latest' else None
    return ModelConfig(name, tensorflow_path('model_base_path', base_path), latest)


def read(path: pathlib.Path) -> list[ModelConfig]:
    """Reads the models of a ModelServerConfig in text form. Raises `InputError` if it cannot be used."""
    try:
        config = text_format.Parse(path.read_text('utf-8'), model_server_config_pb2.ModelServerConfig())
    except (OSError, ValueError, text_format.ParseError) as error:
        raise InputError(f'model_config_file {str(path)!r} cannot be read: {error}') from error
    models = [_model(entry) for entry in config.model_config_list.config]
    names = [model.name for model in models]
    if not models or not all(names) or len(set(names)) < len(names):
        raise InputError(
            f'model_config_file {str(path)!r} must list one or more models in model_config_list, each with a unique '
            f'name; it lists {names}.'
        )
    return models


def _model(entry: model_server_config_pb2.ModelConfig) -> ModelConfig:
    model = ModelConfig(entry.name, tensorflow_path('base_path', entry.base_path), labels=dict(entry.version_labels))
    policy = entry.model_version_policy.WhichOneof('policy_choice')
    if policy == 'all':
        return dataclasses.replace(model, latest=None)
    if policy == 'specific':
        return dataclasses.replace(model, latest=None, specific=tuple(entry.model_version_policy.specific.versions))
    return dataclasses.replace(model, latest=max(entry.model_version_policy.latest.num_versions, 1))
