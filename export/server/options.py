"""How to serve: what the program's flags set. Needs none of the server's packages."""

import dataclasses

from export.server import batching


@dataclasses.dataclass(frozen=True)
class Options:
    """Times in seconds; `batches` None: each request runs by itself."""

    host: str = '127.0.0.1'
    rest_api_port: int = 8501
    port: int = 8500
    batches: batching.Options | None = dataclasses.field(default_factory=batching.Options)
    max_concurrent_requests: int = 128
    max_rows: int = 1024
    max_body_bytes: int = 4 * 2**20
    rest_api_timeout: float = 30.0
    poll_wait: float = 1.0
    max_num_load_retries: int = 5
    load_retry_interval: float = 60.0
    drain: float = 30.0
