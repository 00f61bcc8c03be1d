"""Programs in processes that are forked from one that has imported TensorFlow: they start in 0.1 s instead of 4."""

import gc
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection

_LONGEST = 120  # seconds of a program
_FORKING = multiprocessing.get_context('forkserver')
_FORKING.set_forkserver_preload(['pipeline.run', 'export.artifact.from_run', 'export.client.local'])


class Program:
    """A running program `python -m module flags`, with the interface of `subprocess.Popen`.

    A program that runs for longer than two minutes ends with -SIGALRM, so that a test that waits for it fails.
    """

    def __init__(self, module: str, *flags: str | bytes, cwd: pathlib.Path, env: Mapping[str, str]):
        """`env` has the checkout in PYTHONPATH."""
        os.environ['PYTHONPATH'] = env['PYTHONPATH']  # of the process that forks
        ends = [_FORKING.Pipe(duplex=False) for _ in range(2)]
        written = tuple(write for _, write in ends)
        self._process = _FORKING.Process(target=_run, args=(module, flags, cwd, dict(env), *written))
        self._process.start()
        for write in written:
            write.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(read.fileno()), encoding='utf-8') for read, _ in ends)

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def communicate(self) -> tuple[str, str]:
        """Returns the rest of stdout and of stderr, which must be short, after the program has ended."""
        with self.stdout, self.stderr:
            texts = self.stdout.read(), self.stderr.read()
        self.wait()
        return texts


def run(module: str, *flags: str | bytes, cwd: pathlib.Path, env: Mapping[str, str]) -> subprocess.CompletedProcess:
    """Runs a program to its end."""
    program = Program(module, *flags, cwd=cwd, env=env)
    stdout, stderr = program.communicate()
    return subprocess.CompletedProcess([module, *flags], program.wait(), stdout, stderr)


def look_for_garbage_less_often() -> None:
    """Without it, Python looks for garbage among TensorFlow's modules for a tenth of the time of most tests."""
    gc.freeze()
    gc.set_threshold(50_000)


def _run(
    module: str,
    flags: tuple[str | bytes, ...],
    cwd: pathlib.Path,
    env: dict[str, str],
    stdout: Connection,
    stderr: Connection,
) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, end in ((1, stdout), (2, stderr)):
        os.dup2(end.fileno(), number)
        end.close()
    signal.alarm(_LONGEST)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    look_for_garbage_less_often()
    sys.stdout, sys.stderr = (os.fdopen(number, 'w', encoding='utf-8', buffering=1, closefd=False) for number in (1, 2))
    sys.argv = [module, *map(os.fsdecode, flags)]
    runpy.run_module(module, run_name='__main__', alter_sys=True)
