"""Contestants that take turns, each in a new process."""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.peers.task import STARTED

ROOT = pathlib.Path(__file__).parent.parent

Round = Mapping[str, dict]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A program of `benchmarks` that prints one line of JSON."""

    name: str
    module: str
    options: tuple[str, ...] = ()
    python: str = sys.executable

    def measured(self, arguments: Sequence[str]) -> dict:
        """Returns what the program prints. Raises `CalledProcessError` if it fails."""
        command = [self.python, '-m', self.module, *arguments, *self.options]
        environment = os.environ | {STARTED: str(time.monotonic()), 'TF_CPP_MIN_LOG_LEVEL': '2'}
        found = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(found.stdout.splitlines()[-1])


def has_module(python: str, module: str) -> bool:
    """Returns whether the interpreter `python` exists and can import `module`."""
    try:
        found = subprocess.run([python, '-c', f'import {module}'], check=False, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return found.returncode == 0


def one_round(contestants: Mapping[Contestant, Sequence[str]]) -> Round:
    """Runs each contestant once, with its arguments; returns what they print, by name."""
    return {one.name: one.measured(arguments) for one, arguments in contestants.items()}


def median(found: Sequence[Round], contestant: str, figure: str) -> float:
    """Returns the median of a contestant's figure over the rounds."""
    return statistics.median(one[contestant][figure] for one in found)


def ratio(found: Sequence[Round], first: str, second: str, figure: str) -> str:
    """Formats the ratio of two contestants' figures per round: median, lowest and highest."""
    return spread([one[first][figure] / one[second][figure] for one in found])


def spread(ratios: Sequence[float]) -> str:
    """Formats the median, the lowest and the highest; `-` if there are none."""
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})' if ratios else '-'
