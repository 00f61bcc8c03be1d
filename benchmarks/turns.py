"""Contestants that take turns, each in a fresh process."""

import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence

ROOT = pathlib.Path(__file__).parent.parent

Round = dict[str, dict[str, float]]


def rounds(module: str, contestants: Iterable[str], flags: Sequence[str], count: int) -> list[Round]:
    """`count` rounds: for each contestant what `python -m <module> --only=<contestant> <flags>` prints as JSON."""
    return [{name: _measure(module, name, flags) for name in contestants} for _ in range(count)]


def _measure(module: str, contestant: str, flags: Sequence[str]) -> dict[str, float]:
    command = [sys.executable, '-m', module, f'--only={contestant}', *flags]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def median(found: Sequence[Round], contestant: str, figure: str) -> float:
    """Of a contestant's figure over the rounds."""
    return statistics.median(one[contestant][figure] for one in found)


def ratio(found: Sequence[Round], first: str, second: str, figure: str) -> str:
    """The figure of one contestant over that of another in the same round, for people: median, lowest, highest."""
    ratios = [one[first][figure] / one[second][figure] for one in found]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)'
