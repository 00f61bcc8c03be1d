"""The latencies that Prometheus reads."""

import grpc

from export.server.metrics import Metrics


def test_latency_is_in_microseconds_and_of_successful_requests_alone():
    metrics = Metrics(['m'])
    for code, seconds in ((grpc.StatusCode.OK, 0.5), (grpc.StatusCode.INVALID_ARGUMENT, 0.25)):
        metrics.record('m', 'predict', 'REST', code, seconds)
    lines = metrics.exposition().decode().splitlines()
    labels = '{API="predict",entrypoint="REST",model_name="m"}'
    assert f':tensorflow:serving:request_latency_sum{labels} 500000.0' in lines
    assert f':tensorflow:serving:request_latency_count{labels} 1.0' in lines
