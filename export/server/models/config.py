"""Which models to serve, and which of their versions: from flags, or from TensorFlow Serving's --model_config_file."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from data.errors import InputError


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model: the newest `latest` versions under its `base_path`, or `specific` ones, or all (None, None)."""

    name: str
    base_path: pathlib.Path
    latest: int | None = 1
    specific: tuple[int, ...] | None = None
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def wanted(self, versions: Sequence[int]) -> list[int]:
        """Those of `versions`, in order, that are to be served."""
        if self.specific is not None:
            return [version for version in versions if version in self.specific]
        return list(versions) if self.latest is None else list(versions)[-self.latest :]


def read(path: pathlib.Path) -> list[ModelConfig]:
    """The models of a ModelServerConfig in text form. Raises `InputError` where it cannot be used."""
    try:
        config = text_format.Parse(path.read_text('utf-8'), model_server_config_pb2.ModelServerConfig())
    except (OSError, ValueError, text_format.ParseError) as error:
        raise InputError(f'model_config_file {str(path)!r} cannot be read: {error}') from error
    models = [_model(entry) for entry in config.model_config_list.config]
    names = [model.name for model in models]
    if not models or not all(names) or len(set(names)) < len(names):
        raise InputError(
            f'model_config_file {str(path)!r} has to list one or more models in model_config_list, each with a name of '
            f'its own; it has {names}.'
        )
    return models


def _model(entry: model_server_config_pb2.ModelConfig) -> ModelConfig:
    model = ModelConfig(entry.name, pathlib.Path(entry.base_path), labels=dict(entry.version_labels))
    policy = entry.model_version_policy.WhichOneof('policy_choice')
    if policy == 'all':
        return dataclasses.replace(model, latest=None)
    if policy == 'specific':
        return dataclasses.replace(model, latest=None, specific=tuple(entry.model_version_policy.specific.versions))
    return dataclasses.replace(model, latest=max(entry.model_version_policy.latest.num_versions, 1))
