"""The server in a new process, and a model of the section's size for it."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import IO

from data import corpus
from data.reading import ReadingConfig
from data.vocabulary import Vocabulary

ROOT = pathlib.Path(__file__).parent.parent
MODEL = 'charrnn'

_DEFAULT_LENGTH = 50  # characters, as the section samples
_INIT_SCALE = 0.05  # of the weights: choices vary, but the state does not amplify rounding errors as above 1/16
_ADDRESSES = re.compile(r'REST at http://(?P<rest>[^/]+)/\S+, gRPC at (?P<grpc>\S+)\. Try:')
_TIMEOUT = 60  # seconds for the process to exit
_TICKS = os.sysconf('SC_CLK_TCK')
_PAGE = os.sysconf('SC_PAGE_SIZE')


def vocabulary() -> Vocabulary:
    """Returns the vocabulary of the bundled text."""
    return Vocabulary.from_text(str(corpus.load(ReadingConfig()).text))


def model(size: int, cell: str = 'rnn'):
    """Returns an untrained `CharRNN` of the section's size for `size` characters."""
    from pipeline.config import ModelConfig
    from pipeline.model import CharRNN

    return CharRNN(ModelConfig(cell=cell, init_scale=_INIT_SCALE), size, seed=1)


def write_model(model_dir: pathlib.Path, cell: str = 'rnn') -> None:
    """Exports that model, with the vocabulary of the bundled text, as the next version under `model_dir`."""
    from export.artifact.exporter import export

    characters = vocabulary()
    export(model(len(characters), cell), characters, model_dir, _DEFAULT_LENGTH)


def copy_version(source: pathlib.Path, model_dir: pathlib.Path) -> int:
    """Copies the version in `source` to the next version under `model_dir`, in one rename; returns its number."""
    from export.artifact import versions

    aside = pathlib.Path(tempfile.mkdtemp(prefix='copying-', dir=model_dir))
    shutil.copytree(source, aside, dirs_exist_ok=True)
    return int(versions.add(aside, model_dir).name)


class ServerProcess:
    """`python -m export.serve` on free ports; ready once constructed.

    Attributes:
      rest: host:port of the REST API.
      grpc: host:port of the gRPC API.
    """

    def __init__(self, model_dir: pathlib.Path, *flags: str):
        """Starts the server. Raises `RuntimeError` with its stderr if it exits."""
        command = [sys.executable, '-m', 'export.serve', f'--model_base_path={model_dir}', f'--model_name={MODEL}']
        self._stderr: IO = tempfile.TemporaryFile('w+')  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            [*command, '--rest_api_port=0', '--port=0', *flags],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        for line in self._process.stdout:
            found = _ADDRESSES.search(line)
            if found:
                self.rest, self.grpc = found['rest'], found['grpc']
                return
        raise RuntimeError(f'the server ended with exit code {self._process.wait()}: {self.stderr()}')

    def __enter__(self) -> 'ServerProcess':
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int | None:
        """Waits for the process; returns its exit code, or None if it does not exit."""
        try:
            return self._process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None

    def stderr(self) -> str:
        """Returns the output on stderr so far."""
        self._stderr.seek(0)
        return self._stderr.read()

    def resident_bytes(self) -> int:
        """Returns the resident memory of the process."""
        return int(self._proc('statm').split()[1]) * _PAGE

    def cpu_seconds(self) -> float:
        """Returns user and system time of all threads."""
        user, system = self._proc('stat').rpartition(')')[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS

    def _proc(self, name: str) -> str:
        return pathlib.Path(f'/proc/{self._process.pid}/{name}').read_text()
