"""Serves exported models over REST and gRPC, compatible with TensorFlow Serving's API.

Examples:

  python -m export.serve                                         (models/charrnn at 127.0.0.1:8501, gRPC at 8500)
  python -m export.serve --model_base_path=models/mine --model_name=mine --rest_api_port=0
  python -m export.serve --model_config_file=models.config       (several models, labels, version policies)

The server loads new versions of a model as they appear. SIGTERM and Ctrl-C answer the requests in progress first.
Flags that TensorFlow Serving has too have the same names here. --ssl_config_file and --use_alts_credentials are errors,
because this server has no TLS. TensorFlow Serving's other flags are accepted without effect.
"""

import dataclasses
import sys
import types
from typing import Any

from absl import flags

from data import program
from data.errors import InputError
from data.files import user_path
from data.flag_definitions import define_flags
from export.server import ignored_flags
from export.server.options import METRICS_PATH, BatchingOptions, Options

_FLAGS = flags.FLAGS
_NO_TLS = ('ssl_config_file', 'use_alts_credentials')
_EXTRA = {'tensorflow_serving', 'grpc', 'grpc_health', 'grpc_reflection', 'starlette', 'uvicorn', 'prometheus_client'}


def main() -> None:
    for name in _NO_TLS:
        if _FLAGS[name].value:
            raise InputError(f'{name}: this server has no TLS. Put a proxy in front that has it, and leave it out.')
    if _FLAGS.batching_parameters_file and not _FLAGS.enable_batching:
        raise InputError('batching_parameters_file needs batching: give only one of it and --noenable_batching.')
    process, config, files = import_server()
    options = _options(files)
    if _FLAGS.model_config_file:
        models = config.read(user_path('model_config_file', _FLAGS.model_config_file))
    else:
        models = [config.single(_FLAGS.model_name, _FLAGS.model_base_path, _FLAGS.model_version_policy)]
    process.serve(models, options)


def _options(files: types.ModuleType) -> Options:
    """Returns the options from flags and TensorFlow Serving's files; names on stderr what has no effect.

    `files`: the module `parameter_files`.
    """
    ignored = ignored_flags.given()
    batching, metrics_path = _values(BatchingOptions), METRICS_PATH
    if _FLAGS.batching_parameters_file:
        path = user_path('batching_parameters_file', _FLAGS.batching_parameters_file)
        parameters, without_effect = files.read_batching(path)
        batching |= {name: value for name, value in parameters.items() if not _FLAGS[name].present}
        ignored += without_effect
    if _FLAGS.monitoring_config_file:
        metrics_path = files.read_metrics_path(user_path('monitoring_config_file', _FLAGS.monitoring_config_file))
    if ignored:
        print(f'without effect here (docs/serving.md says why): {", ".join(ignored)}', file=sys.stderr)
    batches = BatchingOptions(**batching) if _FLAGS.enable_batching else None
    return Options(**_values(Options), batches=batches, metrics_path=metrics_path)


def _values(settings: type) -> dict[str, Any]:
    """Returns the values of the flags that are fields of `settings`."""
    names = [field.name for field in dataclasses.fields(settings) if field.name in _FLAGS]
    return {name: tuple(value) if isinstance(value := _FLAGS[name].value, list) else value for name in names}


def import_server() -> tuple[types.ModuleType, types.ModuleType, types.ModuleType]:
    """Returns the modules `process`, `models.config` and `parameter_files`.

    Raises:
      InputError: a package of the extra is missing.
    """
    try:
        from export.server import parameter_files, process  # imports TensorFlow, which takes seconds
        from export.server.models import config
    except ModuleNotFoundError as error:
        if (error.name or '').split('.')[0] not in _EXTRA:
            raise
        raise InputError(
            f"the server needs {error.name}, of the extra 'serve': make serve, or pip install "
            "--constraint constraints.txt --editable '.[serve]'."
        ) from error
    return process, config, parameter_files


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
    flags.DEFINE_string(
        'batching_parameters_file',
        None,
        'BatchingParameters in text form. It replaces the defaults of --max_batch_size and the three flags like it.',
    )
    define_flags(BatchingOptions)
    flags.DEFINE_string(
        'monitoring_config_file', None, 'A MonitoringConfig in text form: the path of the metrics, or none.'
    )
    flags.DEFINE_string(_NO_TLS[0], None, 'Refused: this server has no TLS.')
    flags.DEFINE_boolean(_NO_TLS[1], None, 'Refused: this server has no TLS.')
    ignored_flags.define()
    define_flags(Options)
    program.run(main)
