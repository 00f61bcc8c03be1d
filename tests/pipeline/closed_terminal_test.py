"""A run whose terminal is closed."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tests import programs
from tests.conftest import TEXT

pytestmark = pytest.mark.slow

START = """
import fcntl, os, sys, termios

if sys.argv[1] == 'True':
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # stdin becomes the terminal of this session
os.execv(sys.executable, [sys.executable, '-m', 'pipeline.train', *sys.argv[2:]])
"""


@pytest.mark.parametrize('hears_of_it', [True, False])
def test_run_is_saved_when_its_terminal_is_closed(tmp_path, program_environment, hears_of_it):
    """Its writes fail; if the terminal is that of its session, it gets SIGHUP, too."""
    (tmp_path / 'mine.txt').write_text(TEXT, 'utf-8')
    flags = ['--corpus=mine.txt', '--run_dir=run', '--hidden_size=8', '--batch_size=4', '--num_steps=8', '--jit=false']
    flags += ['--sample_every=2ep', '--sample_length=1']
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-c', START, str(hears_of_it), *flags, '--num_epochs=1000000'],
        **dict.fromkeys(('stdin', 'stdout', 'stderr'), terminal),
        cwd=tmp_path,
        env=program_environment,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        read = b''
        while b'epoch 4,' not in read:
            read += os.read(controller, 4096)
        os.close(controller)
        assert process.wait(60) in ((129, 141) if hears_of_it else (141,))
    finally:
        process.kill()
    resumed = programs.run('pipeline.train', *flags, '--num_epochs=1', cwd=tmp_path, env=program_environment)
    found = re.search(r'(?:resumes after epoch|nothing left to train:) (\d+)', resumed.stdout)
    assert found, resumed.stdout
    assert int(found[1]) >= 3
