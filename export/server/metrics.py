"""Request counts and latencies for Prometheus, with TensorFlow Serving's names."""

import collections
import threading
from collections.abc import Collection, Iterator

import grpc
import prometheus_client
from prometheus_client import core

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

_PREFIX = ':tensorflow:serving:'
_BUCKETS = [10 * 1.8**power for power in range(33)]  # microseconds, up to 20 minutes

prometheus_client.disable_created_metrics()  # TensorFlow Serving does not have them


class _RequestCount:
    """A counter of type "unknown": the name of a counter of prometheus_client ends in `_total`, and this must not."""

    def __init__(self):
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lock = threading.Lock()

    def add(self, model_name: str, status: str) -> None:
        with self._lock:
            self._counts[model_name, status] += 1

    def collect(self) -> Iterator[core.Metric]:
        with self._lock:
            counts = dict(self._counts)
        metric = core.UnknownMetricFamily(
            f'{_PREFIX}request_count', 'The total number of requests.', labels=['model_name', 'status']
        )
        for labels, count in counts.items():
            metric.add_metric(labels, count)
        yield metric


class Metrics:
    """The metrics of one server."""

    def __init__(self, models: Collection[str]):
        """Counts requests for models other than `models` under the empty name, since clients may invent any number."""
        self._models = frozenset(models)
        self._registry = prometheus_client.CollectorRegistry()
        self._count = _RequestCount()
        self._registry.register(self._count)
        self._latency = prometheus_client.Histogram(
            f'{_PREFIX}request_latency',
            'Distribution of wall time (in microseconds) for requests.',
            ['model_name', 'API', 'entrypoint'],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def record(self, model: str, api: str, entrypoint: str, code: grpc.StatusCode, seconds: float) -> None:
        """Counts one request; records its latency if it succeeded, as TensorFlow Serving does."""
        name = model if model in self._models else ''
        self._count.add(name, code.name)
        if code is grpc.StatusCode.OK:
            self._latency.labels(name, api, entrypoint).observe(seconds * 1e6)

    def exposition(self) -> bytes:
        """Returns all metrics in the text format of Prometheus."""
        return prometheus_client.generate_latest(self._registry)
