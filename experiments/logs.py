"""Reads the logs of runs: `<name>.log`, what the program printed, and `<name>.jsonl`, its metrics.jsonl.

The runs in docs/logs/experiments are older than metrics.jsonl: theirs have the numbers that the run printed and, of the
runs without clipping, those of its TensorBoard curves.
"""

import dataclasses
import itertools
import json
import math
import pathlib
import re
import statistics

from experiments.plan import ROOT

FOLDER = ROOT / 'docs' / 'logs' / 'experiments'

_PRINTED = re.compile(r'epoch (\d+), perplexity ')
_DISTINCT = re.compile(r' characters, ([\d,]+) distinct; ')
_SAMPLE = ' - '


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The metrics of an epoch and its first printed sample."""

    number: int
    nats: float
    """Loss, per character; infinite if it was not finite."""
    perplexity: float
    norm: float | None
    """Mean L2 norm of the gradient before clipping."""
    seconds: float | None
    valid: float | None
    """Perplexity of the held-out part."""
    sample: str | None = None


@dataclasses.dataclass(frozen=True)
class Log:
    """The log of a finished run."""

    command: str
    vocabulary_size: int
    epochs: tuple[Epoch, ...]

    def perplexity(self, epoch: int) -> float:
        """Returns the perplexity of an epoch; nan if it is not in the log."""
        return next((e.perplexity for e in self.epochs if e.number == epoch), math.nan)

    @property
    def seconds(self) -> float:
        """Median seconds per epoch."""
        return statistics.median(e.seconds for e in self.epochs if e.seconds is not None)


def metrics_path(log: pathlib.Path) -> pathlib.Path:
    """Returns the path of the metrics that belong to a log."""
    return log.with_suffix('.jsonl')


def read_all(folder: pathlib.Path = FOLDER) -> dict[str, Log]:
    """Reads all logs in `folder`, by name."""
    return {path.stem: read(path) for path in sorted(folder.glob('*.log'))}


def read(path: pathlib.Path) -> Log:
    """Reads a log and its metrics."""
    return parse(path.read_text('utf-8'), metrics_path(path).read_text('utf-8'))


def parse(text: str, metrics: str) -> Log:
    """Parses the text of a log and of its metrics."""
    first, *lines = text.splitlines()
    samples = {
        int(found[1]): after.removeprefix(_SAMPLE)
        for line, after in itertools.pairwise([*lines, ''])
        if (found := _PRINTED.match(line)) and after.startswith(_SAMPLE)
    }
    size = next((int(m[1].replace(',', '')) for line in lines if (m := _DISTINCT.search(line))), 0)
    epochs = [_epoch(json.loads(line), samples) for line in metrics.splitlines()]
    return Log(first.removeprefix('$ '), size, tuple(epochs))


def _epoch(point: dict, samples: dict[int, str]) -> Epoch:
    nats, perplexity = (math.inf if point[name] is None else point[name] for name in ('loss', 'perplexity'))
    optional = (point.get(name) for name in ('global_norm', 'seconds', 'valid_perplexity'))
    return Epoch(point['epoch'], nats, perplexity, *optional, sample=samples.get(point['epoch']))
