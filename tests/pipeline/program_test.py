"""Programs: --help does not import TensorFlow, and output works with any stdout."""

import io
import subprocess
import sys

import pytest

from pipeline import program
from tests.conftest import ROOT

PROGRAMS = ['pipeline.train', 'pipeline.evaluate', 'export.saved_model', 'export.generate', 'export.serve']


@pytest.mark.parametrize('name', PROGRAMS)
def test_help_does_not_import_tensorflow(name):
    command = [sys.executable, '-X', 'importtime', '-m', name, '--help']
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    imported = {line.rpartition('|')[2].strip() for line in result.stderr.splitlines()}
    assert result.returncode == 0
    assert result.stdout.splitlines()[0].endswith('.')
    assert 'absl.flags' in imported, 'imports are not reported'
    assert not {'tensorflow', 'keras'} & imported


@pytest.mark.parametrize('closed', ['', '>&-'])
def test_program_with_closed_stdout_runs_to_its_end(closed):
    """Its output is discarded; its error message on stderr shows that it ran."""
    code = (
        'from data.errors import InputError; from pipeline import program; import sys\n'
        'def main(): print("x" * 99999, sys.stdout.isatty()); raise InputError("the program ran")\n'
        'sys.argv = ["a"]; program.run(main)'
    )
    command = ['sh', '-c', f'"$0" -c "$1" {closed}', sys.executable, code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, 'error: the program ran\n')


@pytest.mark.parametrize(('encoding', 'line'), [('utf-8', '{"a": "分"}'), ('gbk', '{"a": "\\u5206"}')])
def test_json_line_can_be_printed_in_any_encoding(monkeypatch, encoding, line):
    monkeypatch.setattr('sys.stdout', io.TextIOWrapper(io.BytesIO(), encoding))
    assert program.json_line({'a': '分'}) == line
