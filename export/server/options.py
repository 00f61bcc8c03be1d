"""How to serve: what the program's flags set. Needs none of the server's packages."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """TensorFlow Serving's batching parameters; rows, microseconds, batches, threads."""

    max_batch_size: int = 32
    batch_timeout_micros: int = 1000
    max_enqueued_batches: int = 100
    num_batch_threads: int = 2

    @property
    def pool(self) -> str:
        """The kernel takes the options of whoever names a pool first, so its name has them all."""
        return 'charrnn-' + '-'.join(map(str, dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class Options:
    """Times in seconds; `batches` None: each request runs by itself."""

    host: str = '127.0.0.1'
    rest_api_port: int = 8501
    port: int = 8500
    batches: BatchingOptions | None = dataclasses.field(default_factory=BatchingOptions)
    max_concurrent_requests: int = 128
    max_rows: int = 1024
    max_body_bytes: int = 4 * 2**20
    rest_api_timeout: float = 30.0
    poll_wait: float = 1.0
    max_num_load_retries: int = 5
    load_retry_interval: float = 60.0
    drain: float = 30.0
