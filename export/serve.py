"""Serves exported models over REST and gRPC, compatible with TensorFlow Serving's API.

Examples:

  python -m export.serve                                         (models/charrnn at 127.0.0.1:8501, gRPC at 8500)
  python -m export.serve --model_base_path=models/mine --model_name=mine --rest_api_port=0
  python -m export.serve --model_config_file=models.config       (several models, labels, version policies)

The server loads new versions of a model as they appear. SIGTERM and Ctrl-C answer the requests in progress first.
Flags that TensorFlow Serving has too have the same names here.
"""

import dataclasses
import types
from typing import Any

from absl import flags

from data.errors import InputError
from data.files import user_path
from export.server.options import BatchingOptions, Options
from pipeline import program
from pipeline.flag_definitions import define_flags

_FLAGS = flags.FLAGS
_EXTRA = {'tensorflow_serving', 'grpc', 'grpc_health', 'grpc_reflection', 'starlette', 'uvicorn', 'prometheus_client'}


def main() -> None:
    def values(settings: type) -> dict[str, Any]:
        return {field.name: _FLAGS[field.name].value for field in dataclasses.fields(settings) if field.name in _FLAGS}

    batches = BatchingOptions(**values(BatchingOptions)) if _FLAGS.enable_batching else None
    options = Options(**values(Options), batches=batches)
    process, config = import_server()
    if _FLAGS.model_config_file:
        models = config.read(user_path('model_config_file', _FLAGS.model_config_file))
    else:
        models = [config.single(_FLAGS.model_name, _FLAGS.model_base_path, _FLAGS.model_version_policy)]
    process.serve(models, options)


def import_server() -> tuple[types.ModuleType, types.ModuleType]:
    """Returns the modules `process` and `models.config`. Raises `InputError` if a package of the extra is missing."""
    try:
        from export.server import process  # imports TensorFlow, which takes seconds
        from export.server.models import config
    except ModuleNotFoundError as error:
        if (error.name or '').split('.')[0] not in _EXTRA:
            raise
        raise InputError(
            f"the server needs {error.name}, of the extra 'serve': make serve, or pip install "
            "--constraint constraints.txt --editable '.[serve]'."
        ) from error
    return process, config


if __name__ == '__main__':
    flags.DEFINE_string('model_base_path', 'models/charrnn', 'Folder of the versions of the model.')
    flags.DEFINE_string('model_name', 'charrnn', 'Name of the model in requests.')
    flags.DEFINE_enum(
        'model_version_policy', 'latest', ['latest', 'all'], 'Versions to serve: only the newest, or all.'
    )
    flags.DEFINE_string(
        'model_config_file',
        None,
        'A ModelServerConfig in text form: several models, version policies, labels. It replaces --model_name, '
        '--model_base_path and --model_version_policy.',
    )
    flags.DEFINE_boolean('enable_batching', True, 'Run the rows of concurrent requests in one batch.')
    define_flags(BatchingOptions)
    define_flags(Options)
    program.run(main)
