"""The devices that TensorFlow computes on, and its threads. Each function precedes the first operation."""

import os
import pathlib

import tensorflow as tf

_DRIVERS = ('/dev/nvidiactl', '/usr/lib/wsl/lib/libcuda.so.1')
"""Files that an NVIDIA driver provides, the second on Windows. The Makefile looks for them, too."""

_CPU_INFO = pathlib.Path('/proc/cpuinfo')

_FEWEST_ROWS = 16
"""Rows of each of two groups that two cores of a CPU work on: a product of fewer rows takes hardly less time."""

_LARGE = 1024  # hidden units

_UNROLL = '--xla_gpu_enable_while_loop_unrolling=WHILE_LOOP_UNROLLING_FULL_UNROLL'
"""A step of the loop over time is a few small kernels, and the control of the loop takes as long as they do."""

_IN_ORDER = '--xla_cpu_enable_concurrency_optimized_scheduler=false'
"""The groups of rows occupy all cores, so the operations of one group need not run at the same time."""

HOST = 'CPU:0'
"""Where everything happens but the compiled calls of training and evaluation: an operation on a few numbers costs more
on a GPU than on the CPU."""


def prepare(*, all_gpus: bool = False) -> str:
    """Chooses the device of training and evaluation; returns its name.

    Of several GPUs it is the first that CUDA_VISIBLE_DEVICES leaves visible, and the others stay free, unless
    `all_gpus`. TensorFlow allocates memory of the GPU as it needs it, instead of all at once. Factors of products stay
    float32, as on the CPU: TensorFlow would round them to TF32 (10 bits of mantissa) on newer GPUs. On a GPU XLA
    unrolls the loops over time, and on a CPU it runs the operations of a function in order, unless XLA_FLAGS says
    otherwise.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices('GPU')
    if not gpus:
        has_driver = any(pathlib.Path(path).exists() for path in _DRIVERS)
        why = ' (there is an NVIDIA driver, but TensorFlow finds no GPU; TF_CPP_MIN_LOG_LEVEL=0 shows why)'
        _add_xla_flag(_IN_ORDER)
        return f'CPU{why if has_driver else ""}'
    _add_xla_flag(_UNROLL)
    used = gpus if all_gpus else gpus[:1]
    tf.config.set_visible_devices(used, 'GPU')
    for gpu in used:
        tf.config.experimental.set_memory_growth(gpu, True)
    name = tf.config.experimental.get_device_details(gpus[0]).get('device_name', gpus[0].name)
    return f'GPU ({name})' if len(used) == 1 else f'{len(used)} GPUs ({name})'


def _add_xla_flag(flag: str) -> None:
    """Adds a flag to XLA_FLAGS, unless they have it with some value."""
    flags = os.environ.get('XLA_FLAGS', '')
    if flag.partition('=')[0] not in flags:
        os.environ['XLA_FLAGS'] = f'{flags} {flag}'.strip()


def shares_products(hidden_size: int) -> bool:
    """Returns whether both cores of a CPU share each product of a step.

    The weights of 1,024 hidden units (4 MB) do not fit the cache of a core, so two groups of rows would read them
    twice. A GPU does not need this.
    """
    return hidden_size >= _LARGE and not tf.config.get_visible_devices('GPU')


def stores_transposed(hidden_size: int) -> bool:
    """Returns whether the loops of training multiply faster by transposed weights.

    The numbers of a column of large weights are 4,096 bytes apart, so that they displace one another from the cache of
    Intel's CPUs. On AMD's they do not, and the transposed product takes longer (docs/performance.md).
    """
    return shares_products(hidden_size) and _CPU_INFO.exists() and 'GenuineIntel' in _CPU_INFO.read_text('utf-8')


def num_row_groups(batch_size: int, hidden_size: int) -> int:
    """Returns into how many groups to divide the rows of a minibatch, so that two cores of a CPU have work.

    More than two groups could crash: see `CompiledUpdates`. On a GPU, and where the cores share products: 1.
    """
    if tf.config.get_visible_devices('GPU') or shares_products(hidden_size):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    has_rows_for_two = batch_size % 2 == 0 and batch_size >= 2 * _FEWEST_ROWS
    return 2 if cores > 1 and has_rows_for_two else 1


def compiles_whole_calls(batch_size: int, hidden_size: int) -> bool:
    """Returns whether XLA compiles all updates of a call to one function.

    On a CPU TensorFlow multiplies out the gradients of weights faster than XLA. It does so between compiled functions
    of each update. Large products pay for their calls, and groups of rows need them.
    """
    return num_row_groups(batch_size, hidden_size) == 1 and not shares_products(hidden_size)


def use_cpu() -> None:
    """Leaves all GPUs to other programs: one character at a time is faster on a CPU."""
    tf.config.set_visible_devices([], 'GPU')


def set_threads_per_operation(number: int = 1) -> None:
    """Runs each operation on `number` threads (0: one per core).

    1: to split the work of one character between threads costs more than it saves. Concurrent requests still run on
    threads of their own.
    """
    tf.config.threading.set_intra_op_parallelism_threads(number)
