"""Parses the logs in docs/logs/experiments."""

import dataclasses
import math
import pathlib
import re
import statistics

from experiments.plan import ROOT

FOLDER = ROOT / 'docs' / 'logs' / 'experiments'

_EPOCH = re.compile(r'epoch (\d+), perplexity (\S+), time (\S+) sec(?:, valid (\S+))?')
_LOSS = re.compile(r'\(epoch (\d+): loss (\S+) nats, gradient norm (\S+)\)')
_DISTINCT = re.compile(r' characters, ([\d,]+) distinct; ')
_SAMPLE = ' - '


@dataclasses.dataclass(frozen=True)
class Epoch:
    """A printed line and the first sample after it."""

    number: int
    perplexity: float
    seconds: float
    valid: float | None
    """Perplexity of the held-out part."""
    sample: str | None


@dataclasses.dataclass(frozen=True)
class Loss:
    """Loss of an epoch, nats per character, and L2 norm of its gradient before clipping, from TensorBoard."""

    epoch: int
    nats: float
    norm: float


@dataclasses.dataclass(frozen=True)
class Log:
    """The log of a finished run."""

    command: str
    vocabulary_size: int
    epochs: tuple[Epoch, ...]
    losses: tuple[Loss, ...]

    def perplexity(self, epoch: int) -> float:
        """Returns the perplexity of an epoch; nan if it was not printed."""
        return next((e.perplexity for e in self.epochs if e.number == epoch), math.nan)

    @property
    def seconds(self) -> float:
        """Median seconds per printed epoch."""
        return statistics.median(e.seconds for e in self.epochs)


def read_all(folder: pathlib.Path = FOLDER) -> dict[str, Log]:
    """Reads all logs in `folder`, by name."""
    return {path.stem: parse(path.read_text('utf-8')) for path in sorted(folder.glob('*.log'))}


def parse(text: str) -> Log:
    """Parses the text of a log."""
    first, *lines = text.splitlines()
    following = [*lines[1:], '']
    epochs = [
        Epoch(int(found[1]), float(found[2]), float(found[3]), found[4] and float(found[4]), _sample(after))
        for line, after in zip(lines, following, strict=True)
        if (found := _EPOCH.fullmatch(line))
    ]
    losses = [Loss(int(m[1]), float(m[2]), float(m[3])) for line in lines if (m := _LOSS.fullmatch(line))]
    size = next((int(m[1].replace(',', '')) for line in lines if (m := _DISTINCT.search(line))), 0)
    return Log(first.removeprefix('$ '), size, tuple(epochs), tuple(losses))


def loss_line(loss: Loss) -> str:
    """Formats a loss as a line that `parse` reads."""
    return f'(epoch {loss.epoch}: loss {loss.nats:.4g} nats, gradient norm {loss.norm:.4g})'


def _sample(line: str) -> str | None:
    return line.removeprefix(_SAMPLE) if line.startswith(_SAMPLE) else None
