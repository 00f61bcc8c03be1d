"""Flags of TensorFlow Serving without effect here. They are accepted, so that its command lines start this server.

docs/serving.md says what this server does instead. --help does not list them; --helpfull does.
"""

from absl import flags

_HELP = "TensorFlow Serving's; without effect here."
_BOOLEANS = (
    'allow_version_labels_for_unavailable_models',
    'enable_grpc_healthcheck_service',
    'enable_per_model_batching_parameters',
    'enable_profiler',
    'enable_serialization_as_tensor_content',
    'enable_signature_method_name_check',
    'enforce_session_run_timeout',
    'flush_filesystem_caches',
    'prefer_tflite_model',
    'remove_unused_fields_from_bundle_metagraph',
    'skip_initialize_tpu',
    'use_tflite_model',
    'xla_cpu_compilation_enabled',
    'xla_gpu_compilation_enabled',
)
_TEXTS = (
    'grpc_channel_arguments',
    'grpc_max_threads',
    'grpc_socket_path',
    'mixed_precision',
    'model_config_file_poll_wait_seconds',
    'num_load_threads',
    'num_request_iterations_for_warmup',
    'num_tflite_interpreters_per_pool',
    'num_tflite_pools',
    'num_unload_threads',
    'per_process_gpu_memory_fraction',
    'platform_config_file',
    'rest_api_num_threads',
    'saved_model_tags',
    'tensorflow_inter_op_parallelism',
    'tensorflow_session_config_file',
    'tensorflow_session_parallelism',
    'thread_pool_factory_config_file',
)
NAMES = (*_BOOLEANS, *_TEXTS)


def define() -> None:
    """Defines all of them."""
    for name in _BOOLEANS:
        flags.DEFINE_boolean(name, None, _HELP)
    for name in _TEXTS:
        flags.DEFINE_string(name, None, _HELP)


def given() -> list[str]:
    """Returns the names of those on the command line."""
    return [name for name in NAMES if flags.FLAGS[name].present]
