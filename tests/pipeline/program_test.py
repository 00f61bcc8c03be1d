"""Programs: --help does not import TensorFlow."""

import subprocess
import sys

import pytest

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
