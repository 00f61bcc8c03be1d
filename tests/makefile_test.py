"""The commands of the Makefile, with a program in the place of Python that writes down its arguments."""

import os
import pathlib
import subprocess

import pytest

from tests.conftest import ROOT

_PYTHON = """#!/bin/sh
printf '%s\\n' "$*" >> log
for argument; do
  case $argument in
    --export_flags=*) flags=${argument#*=} ;;
    --flagfile=/*) cat "${argument#*=}" >> log ;;
    --fail) exit 7 ;;
    --help) exit 0 ;;
  esac
done
if [ "$flags" ]; then echo '--run_dir=the run' > "$flags"; fi
"""


@pytest.fixture
def make_train(tmp_path):
    """`make_train(arguments)` returns the process and what it wrote down; temporary files are in `tmp_path`/tmp."""
    python = tmp_path / 'python'
    python.write_text(_PYTHON)
    python.chmod(0o755)
    (tmp_path / 'tmp').mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith('MAKE')}
    environment['TMPDIR'] = str(tmp_path / 'tmp')

    def make_train(arguments: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        # The packages are installed: --old-file keeps make from asking.
        options = [f'--file={ROOT / "Makefile"}', '--old-file=.venv/installed']
        command = ['make', *options, 'train', f'RUN={python}', f'ARGS={arguments}']
        process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return process, pathlib.Path(tmp_path, 'log').read_text().splitlines()

    return make_train


@pytest.mark.parametrize(
    'arguments', ['--num_epochs=3', '--run_dir mine', '--flagfile=settings.flags', "--run_dir='m n'"]
)
def test_train_exports_the_run_that_it_trained(make_train, tmp_path, arguments):
    """Whatever names it: a flag with or without an equals sign, a flag file, or nothing."""
    process, log = make_train(arguments)
    assert process.returncode == 0, process.stderr
    trained, exported, run_dir = log
    assert trained.startswith('-m pipeline.train --export_flags=')
    assert trained.endswith(' ' + arguments.replace("'", ''))
    assert exported.startswith('-m export.saved_model --flagfile=')
    assert run_dir == '--run_dir=the run'
    assert not list((tmp_path / 'tmp').iterdir())


@pytest.mark.parametrize(('argument', 'succeeds'), [('--fail', False), ('--help', True)])
def test_nothing_is_exported_unless_a_run_was_trained(make_train, tmp_path, argument, succeeds):
    process, log = make_train(argument)
    assert (process.returncode == 0) == succeeds
    assert len(log) == 1
    assert not list((tmp_path / 'tmp').iterdir())
