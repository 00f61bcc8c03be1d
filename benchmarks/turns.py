"""Contestants that take turns, each in a new process."""

import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence

ROOT = pathlib.Path(__file__).parent.parent

Round = dict[str, dict[str, float]]


def rounds(module: str, contestants: Iterable[str], flags: Sequence[str], count: int) -> list[Round]:
    """Runs `count` rounds of `python -m <module> --only=<contestant> <flags>`; returns the JSON that each prints."""
    return [{name: _measure(module, name, flags) for name in contestants} for _ in range(count)]


def _measure(module: str, contestant: str, flags: Sequence[str]) -> dict[str, float]:
    command = [sys.executable, '-m', module, f'--only={contestant}', *flags]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def median(found: Sequence[Round], contestant: str, figure: str) -> float:
    """Returns the median of a contestant's figure over the rounds."""
    return statistics.median(one[contestant][figure] for one in found)


def ratio(found: Sequence[Round], first: str, second: str, figure: str) -> str:
    """Formats the ratio of two contestants' figures per round: median, lowest and highest."""
    ratios = [one[first][figure] / one[second][figure] for one in found]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)'
