"""The results of benchmarks.serving."""

from benchmarks import load
from benchmarks.load import Record
from benchmarks.serving import Run
from benchmarks.traffic import GRPC, Call

CALLS = [Call('score', GRPC, b'')]


def _run(versions: list[int]) -> Run:
    """Of one answer from each of `versions`, after 1, 2, ... seconds."""
    records = [Record(0, 0.0, seconds, load.RIGHT, version=version) for seconds, version in enumerate(versions, 1)]
    return Run(CALLS, records, stopped=100.0, seconds=5.0)


def test_percentiles_are_at_most_the_maximum():
    *_, (*_, median, p99, longest) = _run([1, 1, 2]).rows('batched')  # the last row: of all kinds and protocols
    assert (median, longest) == (2, 3)
    assert 2 < p99 < 3


def test_load_that_ends_before_the_second_version_answers_names_the_way_out():
    assert not _run([1, 2]).problems
    (problem,) = _run([1, 1]).problems
    assert problem.startswith('versions that answered over gRPC: 1, but two must')
    assert problem.endswith('use more than --seconds=5')
