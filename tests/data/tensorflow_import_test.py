"""TensorFlow starts without notices, unless they are needed, and without garbage collection."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def import_tensorflow(tmp_path):
    """Returns a function that imports a fake TensorFlow with the given code in a new process, by `how`."""

    def start(
        code: str, how: str = 'import data, tensorflow', redirection: str = '', **variables: str
    ) -> subprocess.CompletedProcess:
        (tmp_path / 'tensorflow.py').write_text(f'import os\nos.write(2, b"a notice\\n")\n{code}', 'utf-8')
        environment = {name: value for name, value in os.environ.items() if name != 'TF_CPP_MIN_LOG_LEVEL'}
        environment |= variables
        environment['PYTHONPATH'] = os.pathsep.join([str(tmp_path), str(ROOT)])
        command = ['sh', '-c', f'exec "$0" -c "$1" {redirection}', sys.executable, how]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return start


CONFIG = 'import types\nconfig = types.SimpleNamespace(list_physical_devices=lambda: os.write(2, b"no GPU"))'


def test_notices_are_hidden(import_tensorflow):
    process = import_tensorflow(f'{CONFIG}\nassert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"')
    assert (process.returncode, process.stderr) == (0, '')


def test_tensorflow_is_imported_with_closed_stderr(import_tensorflow):
    how = 'import data, tensorflow, sys, os; assert sys.stderr.write("x"); os.write(2, b"x"); print("imported")'
    process = import_tensorflow(CONFIG, how, redirection='2>&-')
    assert (process.returncode, process.stdout) == (0, 'imported\n')


@pytest.mark.parametrize('level', ['1', '3'])
def test_level_of_the_user_is_passed_to_tensorflow(import_tensorflow, level):
    code = f'{CONFIG}\nassert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "{level}"'
    process = import_tensorflow(code, TF_CPP_MIN_LOG_LEVEL=level)
    assert (process.returncode, process.stderr) == (0, '')


def test_level_0_shows_the_notices(import_tensorflow):
    assert import_tensorflow(CONFIG, TF_CPP_MIN_LOG_LEVEL='0').stderr == 'a notice\n'


def test_notices_are_shown_if_the_import_fails(import_tensorflow):
    process = import_tensorflow('raise ImportError("no library")')
    assert process.returncode == 1
    assert process.stderr.startswith('a notice\nTraceback')
    assert process.stderr.endswith('ImportError: no library\n')


def test_ctrl_c_during_the_import_prints_one_line(import_tensorflow):
    process = import_tensorflow('import signal\nos.kill(os.getpid(), signal.SIGINT)')
    assert (process.returncode, process.stderr) == (-signal.SIGINT, 'interrupted\n')


@pytest.mark.parametrize(('before', 'after'), [('', 'gc.isenabled()'), ('gc.disable()', 'not gc.isenabled()')])
def test_garbage_is_collected_as_before_but_not_during_the_import(import_tensorflow, before, after):
    how = f'import gc\n{before}\nimport data, tensorflow\nassert {after}\nassert gc.get_freeze_count()'
    process = import_tensorflow(f'{CONFIG}\nimport gc\nassert not gc.isenabled()', how)
    assert (process.returncode, process.stderr) == (0, '')


def test_garbage_is_collected_after_a_failed_import(import_tensorflow):
    how = 'import gc, data\ntry: import tensorflow\nexcept ImportError: assert gc.isenabled()'
    assert import_tensorflow('raise ImportError', how).returncode == 0
