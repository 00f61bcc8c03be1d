"""Runs a program of the project and keeps its output as a log."""

import os
import pathlib
import platform
import re
import subprocess
import sys
import time

from data.download import data_home
from data.errors import InputError
from data.files import write_whole


def output(name: str, command: str, directory: pathlib.Path) -> list[str]:
    """Runs `command`, which begins with `python -m`, in `directory`; returns the lines of its log.

    Raises:
      InputError: the program failed; the message calls it `name`.
    """
    environment = {**os.environ, 'CHARRNN_DATA_HOME': str(data_home().absolute())}
    start = time.perf_counter()
    arguments = [sys.executable, *command.split()[1:]]
    result = subprocess.run(arguments, cwd=directory, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if result.returncode:
        raise InputError(f'{name} ended with exit code {result.returncode}: {result.stderr.strip()}')
    return [f'$ {command}', f'CPU: {cpu()}', *result.stdout.splitlines(), f'(whole program: {seconds:.1f} s)']


def write_log(path: pathlib.Path, lines: list[str]) -> None:
    """Writes a log, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, '\n'.join(lines) + '\n')


def has_log(path: pathlib.Path, command: str) -> bool:
    """Returns whether `path` is a log of `command`."""
    return path.exists() and path.read_text('utf-8').partition('\n')[0] in (f'$ {command}', f'$ {as_before(command)}')


def as_before(command: str) -> str:
    """Returns a command as it was until 25 November 2026: `--sample_every=10` for what is `--sample_every=10ep` now."""
    return re.sub('(_every=[0-9]+)ep', r'\1', command)


def cpu() -> str:
    """Returns the model of the CPU and the number of cores."""
    info = pathlib.Path('/proc/cpuinfo')
    lines = info.read_text('utf-8').splitlines() if info.exists() else []
    names = [line.partition(': ')[2] for line in lines if line.startswith('model name')]
    return f'{(names or [platform.machine()])[0]}, {os.cpu_count()} cores'
