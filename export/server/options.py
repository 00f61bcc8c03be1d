"""The settings of a server. Imports none of the packages of the extra `serve`."""

import dataclasses

from data.settings import check_fields, setting

METRICS_PATH = '/monitoring/prometheus/metrics'

_MOST_SECONDS = 1_000_000


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """TensorFlow Serving's batching parameters."""

    max_batch_size: int = setting(32, 'Limit on the rows of a batch. A larger request runs alone.', lowest=1)
    batch_timeout_micros: int = setting(1000, 'Microseconds that the first row of a batch waits for others.', lowest=0)
    max_enqueued_batches: int = setting(100, 'Limit on waiting batches. Further requests get 503.', lowest=1)
    num_batch_threads: int = setting(2, 'Batches that run at a time.', lowest=1)

    def __post_init__(self):
        check_fields(self)

    @property
    def pool(self) -> str:
        """The name of the thread pool; it has all options, because the first user of a name sets them."""
        return 'charrnn-' + '-'.join(map(str, dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class Options:
    """Addresses, limits and times of a server."""

    host: str = setting(
        '127.0.0.1', 'Address to listen on. The server has no authentication: restrict who can reach it.'
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        'Host name under which clients reach a server on a loopback address, as behind a reverse proxy; repeat the '
        'flag for several. localhost and addresses are always allowed.',
    )
    rest_api_port: int = setting(8501, 'Port of the REST API. 0: any free port.', lowest=0, highest=65535)
    port: int = setting(8500, 'Port of the gRPC API. 0: any free port.', lowest=0, highest=65535)
    batches: BatchingOptions | None = dataclasses.field(default_factory=BatchingOptions)
    """None: each request runs alone."""
    max_concurrent_requests: int = setting(128, 'Limit on requests in progress. Further requests get 503.', lowest=1)
    max_rows: int = setting(1024, 'Limit on the rows of a request.', lowest=1)
    max_body_bytes: int = setting(4 * 2**20, 'Limit on the body of a request, in bytes.', lowest=1)
    rest_api_timeout_in_ms: int = setting(
        30_000,
        'Milliseconds after which a REST request gets 504, though its prediction still runs to its end, and after '
        'which a client that does not read its answer is disconnected.',
        lowest=1,
    )
    rest_api_enable_cors_support: bool = setting(False, 'Allow web pages of all origins to use the REST API.')
    metrics_path: str | None = METRICS_PATH
    """None: no metrics."""
    enable_model_warmup: bool = setting(True, 'Run the warm-up requests of a version before it is served.')
    tensorflow_intra_op_parallelism: int = setting(
        1,
        'Threads of one operation. More than 1 costs more than it saves, unless the model is large. 0: one per core.',
        lowest=0,
    )
    file_system_poll_wait_seconds: float = setting(
        1.0,
        'Seconds between scans for new versions. 0: only one scan, at the start.',
        lowest=0.0,
        highest=_MOST_SECONDS,
    )
    max_num_load_retries: int = setting(5, 'Retries of a version that cannot be loaded.', lowest=0)
    load_retry_interval_micros: int = setting(
        60_000_000, 'Microseconds between these retries.', lowest=0, highest=_MOST_SECONDS * 1_000_000
    )
    drain_seconds: float = setting(
        30.0,
        'Seconds that requests in progress may take after SIGTERM or Ctrl-C.',
        lowest=0.0,
        highest=_MOST_SECONDS,
    )

    def __post_init__(self):
        check_fields(self)
