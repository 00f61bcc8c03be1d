"""The start of a program: TensorFlow's notices are held back, unless needed; Ctrl-C and `>&-` are no accident."""

import io
import os
import signal
import subprocess
import sys

import pytest

from pipeline import program
from tests.conftest import ROOT


@pytest.fixture
def import_tensorflow(tmp_path):
    """Imports a TensorFlow that does what it is told, in a new process; returns that."""

    def start(code: str) -> subprocess.CompletedProcess:
        (tmp_path / 'tensorflow.py').write_text(f'import os\nos.write(2, b"a notice\\n")\n{code}', 'utf-8')
        environment = {name: value for name, value in os.environ.items() if name != 'TF_CPP_MIN_LOG_LEVEL'}
        environment['PYTHONPATH'] = os.pathsep.join([str(tmp_path), str(ROOT)])
        command = [sys.executable, '-c', 'import data, tensorflow']
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return start


def test_notices_are_held_back(import_tensorflow):
    code = 'import types\nconfig = types.SimpleNamespace(list_physical_devices=lambda: os.write(2, b"no GPU"))'
    process = import_tensorflow(code)
    assert (process.returncode, process.stderr) == (0, '')


def test_where_it_fails_they_are_shown(import_tensorflow):
    process = import_tensorflow('raise ImportError("no library")')
    assert process.returncode == 1
    assert process.stderr.startswith('a notice\nTraceback')
    assert process.stderr.endswith('ImportError: no library\n')


def test_ctrl_c_meanwhile_says_so_and_no_more(import_tensorflow):
    process = import_tensorflow('import signal\nos.kill(os.getpid(), signal.SIGINT)')
    assert (process.returncode, process.stderr) == (-signal.SIGINT, 'interrupted\n')


@pytest.mark.parametrize('closed', ['', '>&-'])
def test_a_program_whose_output_is_closed_runs_as_ever(closed):
    """What it prints is for nobody; in the end it says on stderr that it ran."""
    code = (
        'from data.errors import InputError; from pipeline import program; import sys\n'
        'def main(): print("x" * 99999, sys.stdout.isatty()); raise InputError("the program ran")\n'
        'sys.argv = ["a"]; program.run(main)'
    )
    command = ['sh', '-c', f'"$0" -c "$1" {closed}', sys.executable, code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, 'error: the program ran\n')


@pytest.mark.parametrize(('encoding', 'line'), [('utf-8', '{"a": "分"}'), ('gbk', '{"a": "\\u5206"}')])
def test_a_line_of_json_is_one_in_any_encoding(monkeypatch, encoding, line):
    monkeypatch.setattr('sys.stdout', io.TextIOWrapper(io.BytesIO(), encoding))
    assert program.json_line({'a': '分'}) == line
