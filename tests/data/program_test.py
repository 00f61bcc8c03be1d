"""Programs: --help does not import TensorFlow, and output works with any stdout."""

import io
import os
import pathlib
import subprocess
import sys

import pytest

from data import program
from tests.conftest import ROOT

PROGRAMS = [
    'data.encode',
    'pipeline.train',
    'pipeline.evaluate',
    'export.saved_model',
    'export.generate',
    'export.serve',
]


@pytest.mark.parametrize('name', PROGRAMS)
def test_help_does_not_import_tensorflow(name):
    command = [sys.executable, '-X', 'importtime', '-m', name, '--help']
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    imported = {line.rpartition('|')[2].strip() for line in result.stderr.splitlines()}
    assert result.returncode == 0
    assert result.stdout.splitlines()[0].endswith('.')
    assert 'absl.flags' in imported, 'imports are not reported'
    assert not {'tensorflow', 'keras'} & imported


def _run(main: str, redirection: str) -> subprocess.CompletedProcess:
    """Runs a program, whose `main` is given in Python, in a shell."""
    code = f'import os, sys; from data import program; from data.errors import InputError\n{main}\n'
    command = ['sh', '-c', f'"$0" -c "$1" {redirection}', sys.executable, f'{code}sys.argv = ["a"]; program.run(main)']
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize('closed', ['', '>&-'])
def test_program_with_closed_stdout_runs_to_its_end(closed):
    """Its output is discarded; its error message on stderr shows that it ran."""
    main = 'def main(): print("x" * 99999, sys.stdout.isatty()); raise InputError("the program ran")'
    result = _run(main, closed)
    assert (result.returncode, result.stderr) == (1, 'error: the program ran\n')


@pytest.mark.parametrize('closed', ['2>&-', '>&- 2>&-', '<&- >&- 2>&-'])
def test_program_with_closed_stderr_runs_to_its_end(closed):
    """What it writes to stderr is discarded, and is not on stdout; TensorFlow can be imported."""
    main = 'def main(): import tensorflow; os.write(2, b"a notice"); print("an error", file=sys.stderr); return 3'
    result = _run(main, closed)
    assert (result.returncode, result.stdout, result.stderr) == (3, '', '')


@pytest.mark.skipif(not pathlib.Path('/dev/full').exists(), reason='this system has no /dev/full')
@pytest.mark.parametrize('length', [1, 99999])
def test_stdout_on_a_full_disk_is_named(length):
    """A short text is written only when the program ends."""
    result = _run(f'def main(): print("x" * {length})', '>/dev/full')
    assert (result.returncode, result.stderr) == (1, 'error: stdout cannot be written: No space left on device.\n')


@pytest.mark.parametrize('arguments', [[], ['--help']])
def test_closed_reader_of_stdout_is_exit_code_141(arguments):
    code = f'from data import program; import sys; sys.argv = ["a", *{arguments}]; program.run(lambda: print("x"))'
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b'')


_ECHO = """
from absl import flags
from data import program
flags.DEFINE_string('corpus', 'none', '')
flags.DEFINE_integer('num_epochs', 1, '')
flags.DEFINE_bool('jit', True, '')
flags.DEFINE_float('rate', 1.0, '')
flags.DEFINE_multi_string('prefix', [], '')
F = flags.FLAGS
program.run(lambda: print(F.corpus, F.num_epochs, F.jit, *F.prefix))
"""


def _echo(folder, *arguments: str) -> tuple[int, str, str]:
    """Returns exit code, stdout and stderr of a program that prints its flags."""
    (folder / 'echo.py').write_text(_ECHO)
    command = [sys.executable, 'echo.py', *arguments]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('--nojit=true', '--nojit=true does not take an argument'),
        ('--epochs=3', "Unknown command line flag 'epochs'. Did you mean --num_epochs?"),
        ('--num_epoch=3', "Unknown command line flag 'num_epoch'. Did you mean: num_epochs ?"),
        ('--lr=3', "Unknown command line flag 'lr'"),
        ('--num_epochs=3.5', 'flag --num_epochs=3.5: it must be an integer'),
        ('--rate=10%', 'flag --rate=10%: it must be a number'),
        ('--jit=maybe', 'flag --jit=maybe: it must be true or false'),
    ],
)
def test_bad_flag_is_one_line(tmp_path, argument, message):
    assert _echo(tmp_path, argument) == (1, '', f'error: {message} (--help shows all flags)\n')


@pytest.mark.parametrize('first_line', ['', '--corpus=a\n', '# a comment\n', '// a comment\n', '\n'])
def test_byte_order_mark_of_a_flag_file_is_skipped(tmp_path, first_line):
    (tmp_path / 'a.flags').write_text(f'\ufeff{first_line}--num_epochs=5\n', 'utf-8')
    corpus = 'a' if 'corpus' in first_line else 'none'
    assert _echo(tmp_path, '--flagfile=a.flags') == (0, f'{corpus} 5 True\n', '')


def test_flag_file_in_another_encoding_is_one_line(tmp_path):
    (tmp_path / 'a.flags').write_text('--corpus=a\n', 'utf-16')
    code, _, error = _echo(tmp_path, '--flagfile=a.flags')
    assert (code, error.count('\n')) == (1, 1)
    assert "can't decode byte 0xff" in error


def test_second_value_of_a_flag_is_used_and_reported(tmp_path):
    (tmp_path / 'a.flags').write_text('--num_epochs=5\n--corpus=c\n', 'utf-8')
    arguments = ['--flagfile=a.flags', '--num_epochs=6', '--prefix=x', '--prefix=y']
    assert _echo(tmp_path, *arguments) == (0, 'c 6 True x y\n', ''), 'a flag file is a default'
    code, stdout, stderr = _echo(tmp_path, '--corpus=a', *arguments, '--corpus', 'b')
    assert (code, stdout) == (0, 'b 6 True x y\n')
    assert stderr == "--corpus is given more than once: 'b' is used\n"


@pytest.mark.parametrize(('encoding', 'line'), [('utf-8', '{"a": "分"}'), ('gbk', '{"a": "\\u5206"}')])
def test_json_line_can_be_printed_in_any_encoding(monkeypatch, encoding, line):
    monkeypatch.setattr('sys.stdout', io.TextIOWrapper(io.BytesIO(), encoding))
    assert program.json_line({'a': '分'}) == line
