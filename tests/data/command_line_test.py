"""Commands that programs print: a shell and absl read them as they were meant."""

import json
import subprocess
import sys

import pytest
from absl import flags

from data import command_line

AWKWARD = ['分开', 'Once upon', "it's", 'a,b', '"Once, upon"', '$HOME `ls` \\', '*', '=', '#', '🎵;', ' a ', 'a\nb', '']


@pytest.mark.parametrize('value', AWKWARD)
def test_shell_passes_the_quoted_values_unchanged(value, tmp_path):
    (tmp_path / 'echo.py').write_text('import json, sys\nprint(json.dumps(sys.argv[1:]))', 'utf-8')
    line = command_line.command('echo', run_dir=value, prefix=value, length=5)
    shell = ['bash', '-c', line.replace('python', sys.executable, 1)]
    arguments = json.loads(subprocess.run(shell, cwd=tmp_path, capture_output=True, check=True).stdout)
    found = flags.FlagValues()
    flags.DEFINE_string('run_dir', '', '', flag_values=found)
    flags.DEFINE_multi_string('prefix', '', '', flag_values=found)
    flags.DEFINE_integer('length', 0, '', flag_values=found)
    found(['echo', *arguments])
    assert (found.run_dir, found.prefix, found.length) == (value, [value], 5)


def test_quotes_only_where_the_shell_needs_them():
    line = command_line.command('export.generate', model_dir='models/分', prefix='分开')
    assert line == 'python -m export.generate --model_dir=models/分 --prefix=分开'
