"""The commands of the Makefile, from dry runs."""

import os
import subprocess

from tests.conftest import ROOT


def _would_run(target: str, arguments: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith('MAKE')}
    command = ['make', '--dry-run', target, f'ARGS={arguments}']
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_train_exports_the_run_that_it_trained():
    """Not the newest under runs/, which may be another run."""
    train, export = _would_run('train', '--num_epochs=3 --run_dir=mine').stdout.splitlines()[-2:]
    assert train.endswith('-m pipeline.train --num_epochs=3 --run_dir=mine')
    assert export.endswith('-m export.saved_model --run_dir=mine')


def test_run_dir_without_an_equals_sign_is_refused():
    refused = _would_run('train', '--run_dir mine')
    assert refused.returncode != 0
    assert 'write --run_dir=...' in refused.stderr
