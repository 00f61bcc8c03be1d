"""The programs as a user runs them: train, interrupt, resume, evaluate, export, generate, and errors."""

import hashlib
import json
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export.artifact import versions
from tests import programs
from tests.conftest import TEXT

pytestmark = pytest.mark.slow

SMALL = ['--hidden_size=16', '--batch_size=4', '--num_steps=8', '--sample_length=10', '--sample_every=100ep']
QUICK = [*SMALL, '--jit=false']  # compiling takes longer than these runs


def _command(program: str, *flags: str) -> list[str]:
    return [sys.executable, '-m', program, *flags]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A directory outside the checkout, with a text."""
    folder = tmp_path_factory.mktemp('user')
    (folder / 'mine.txt').write_text(TEXT, 'utf-8')
    return folder


@pytest.fixture(scope='module')
def run(folder, program_environment):
    """`run(program, *flags)` runs a program in that directory."""

    def run(program: str, *flags: str) -> subprocess.CompletedProcess:
        return programs.run(program, *flags, cwd=folder, env=program_environment)

    return run


@pytest.fixture(scope='module')
def trained(folder, program_environment):
    """Output of a finished run under runs/ of 300 short epochs, started as a user starts it."""
    flags = ['--corpus=mine.txt', '--num_epochs=300', '--sampling=consecutive', *SMALL]
    result = subprocess.run(
        _command('pipeline.train', *flags), cwd=folder, env=program_environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result


def _weights(run_dir) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run_dir / 'checkpoints'))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(('model', 'optimizer', 'state'))]
    assert len(names) > 6
    return {name: reader.get_tensor(name) for name in names}


def _description(version_dir) -> dict:
    return json.loads((version_dir / versions.DESCRIPTION).read_text('utf-8'))


def test_training_prints_the_sections_lines_and_no_tensorflow_notices(trained):
    lines = trained.stdout.splitlines()
    counts = f'{len(TEXT)} characters, {len(set(TEXT))} distinct'
    assert re.fullmatch(rf'mine\.txt: {counts}; \d+ minibatches .*; [\d,]+ parameters on .*; runs/mine-.*', lines[0])
    epoch_line = re.compile(r'epoch (\d+), perplexity \d+\.\d\d, time \d+\.\d\d sec')
    assert [epoch_line.fullmatch(line)[1] for line in lines[1:-1:3]] == ['100', '200', '300']
    assert [line[:5] for line in lines[2:4]] == [' - 分开', ' - 不分']
    assert [len(line) for line in lines[2:4]] == [3 + 2 + 10, 3 + 3 + 10]
    assert lines[-1].startswith('saved in runs/mine-consecutive-')
    assert trained.stderr == ''


def test_training_needs_no_other_backend_of_keras(folder, program_environment, tmp_path):
    """One that the environment chooses for other programs."""
    flags = ['--corpus=mine.txt', '--num_epochs=1', f'--run_dir={tmp_path / "run"}', *QUICK]
    environment = program_environment | {'KERAS_BACKEND': 'torch', 'TF_USE_LEGACY_KERAS': '1'}
    result = subprocess.run(
        _command('pipeline.train', *flags), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, '')


def test_training_without_xla_prints_no_tensorflow_notices(run, tmp_path):
    flags = ['--corpus=mine.txt', '--valid_fraction=0.1', '--num_epochs=2', f'--run_dir={tmp_path / "run"}', *QUICK]
    result = run('pipeline.train', *flags)
    assert result.returncode == 0
    assert result.stderr == ''


def test_export_uses_the_newest_run_and_generate_the_newest_version(trained, run):
    exported = run('export.saved_model')
    assert exported.returncode == 0, exported.stderr
    assert 'models/charrnn/1' in exported.stdout
    last_samples = [line[3:] for line in trained.stdout.splitlines() if line.startswith(' - ')][-2:]
    generated = run('export.generate', '--prefix=分开', '--prefix=不分开', '--length=10')
    assert generated.stdout.splitlines() == last_samples
    assert generated.stderr == ''


def test_exported_model_describes_its_run_and_old_versions_are_removed(trained, run, folder, program_environment):
    """Corpus, settings, checkpoint, and the last printed perplexity; there is no held-out part."""
    flags = ['--model_dir=models/described', '--max_length=12', '--max_prefix=1', '--keep_versions=1']
    (folder / 'tensorflow_serving.py').write_text('raise ImportError')  # hides the installed package
    try:
        command = _command('export.saved_model', *flags)
        first = subprocess.run(command, cwd=folder, env=program_environment, capture_output=True, text=True)
    finally:
        (folder / 'tensorflow_serving.py').unlink()
    assert first.stderr.startswith('exported without warm-up requests: install tensorflow-serving-api')
    found = _description(folder / 'models' / 'described' / '1')
    (run_dir,) = folder.glob('runs/mine-consecutive-*')
    recorded = json.loads((run_dir / 'config.json').read_text('utf-8'))
    assert found['config'] == recorded['config']
    assert found['corpus'] == {'name': 'mine.txt', 'sha256': hashlib.sha256(TEXT.encode()).hexdigest()}
    assert found['limits'] == {'max_length': 12, 'max_prefix': 1}
    assert found['default_length'] == 10
    step = 300 * int(re.search(r'(\d+) minibatches an epoch', trained.stdout)[1])
    assert found['checkpoint'] == {'name': f'checkpoints/ckpt-{step}', 'step': step}
    printed = re.findall(r'perplexity (\d+\.\d\d)', trained.stdout)[-1]
    assert f'{found["perplexity"]["train"]:.2f}' == printed
    assert found['perplexity']['valid'] is None

    second = run('export.saved_model', *flags)
    assert second.stderr == ''
    assert second.stdout.splitlines()[1] == 'removed models/described/1'
    assert [path.name for path in (folder / 'models' / 'described').iterdir()] == ['2']
    python, _, program, *printed_flags = shlex.split(second.stdout.splitlines()[-1].removeprefix('Next: '))
    generated = run(program, *printed_flags)
    assert (python, len(generated.stdout.rstrip('\n')), generated.stderr) == ('python', 13, '')


def test_interrupted_and_resumed_run_is_bit_equal_to_an_unbroken_run(trained, run, folder, program_environment):
    """Ctrl-C after epoch 100; `--run_dir` alone resumes the run."""
    (unbroken,) = folder.glob('runs/mine-consecutive-*')
    flags = ['--corpus=mine.txt', '--run_dir=broken', '--num_epochs=300', '--sampling=consecutive', *SMALL]
    process = programs.Program('pipeline.train', *flags, cwd=folder, env=program_environment)
    for line in process.stdout:
        if line.startswith('epoch 100'):
            process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.wait() == 130
    resumed = run('pipeline.train', '--run_dir=broken')
    assert int(re.search(r'resumes after epoch (\d+) of 300', resumed.stdout)[1]) < 300
    assert resumed.returncode == 0, resumed.stderr
    for name, value in _weights(unbroken).items():
        np.testing.assert_array_equal(_weights(folder / 'broken')[name], value, err_msg=name)


def test_finished_run_resumes_only_with_more_epochs(trained, run, folder):
    (run_dir,) = folder.glob('runs/mine-consecutive-*')
    again = run('pipeline.train', f'--run_dir={run_dir}')
    assert again.returncode == 0
    assert 'nothing left to train' in again.stdout
    longer = run('pipeline.train', f'--run_dir={run_dir}', '--num_epochs=302')
    assert 'resumes after epoch 300 of 302' in longer.stdout
    assert 'epoch 302, perplexity' in longer.stdout
    assert json.loads((run_dir / 'config.json').read_text('utf-8'))['config']['num_epochs'] == 302


def test_training_hands_its_run_on_to_the_export(trained, run, folder):
    """A run whose directory has a space and which is not the newest; flags of the command line are added."""
    (run_dir,) = folder.glob('runs/mine-consecutive-*')
    shutil.copytree(run_dir, folder / 'a copy')
    trained_again = run('pipeline.train', '--run_dir=a copy', '--export_flags=its.flags')
    assert trained_again.returncode == 0, trained_again.stderr
    exported = run('export.saved_model', '--flagfile=its.flags', '--model_dir=models/handed-on')
    assert exported.stdout.startswith('a copy/checkpoints/ckpt-')


def test_different_settings_in_a_run_dir_are_an_error_and_change_nothing(trained, run, folder):
    (run_dir,) = folder.glob('runs/mine-consecutive-*')
    before = (run_dir / 'config.json').read_bytes()
    refused = run('pipeline.train', f'--run_dir={run_dir}', '--hidden_size=17')
    assert refused.returncode == 1
    assert refused.stderr.startswith('error: run_dir')
    assert '--hidden_size is 17, was 16' in refused.stderr
    assert (run_dir / 'config.json').read_bytes() == before


def test_run_with_a_held_out_part_is_evaluated_and_exported_at_its_best_checkpoint(run, folder):
    """The held-out part has a character outside the vocabulary, which every program reads as U+FFFD."""
    (folder / 'tail.txt').write_text(TEXT[:400] + TEXT[:95] + '囧囧囧囧囧', 'utf-8')
    flags = ['--corpus=tail.txt', '--run_dir=held', '--valid_fraction=0.2', '--min_count=2', '--num_epochs=100', *QUICK]
    trained = run('pipeline.train', *flags, '--prefixes=分囧')
    assert trained.returncode == 0, trained.stderr
    lines = trained.stdout.splitlines()
    assert '; 12 minibatches an epoch;' in lines[0]  # of 400 training characters; all 500 would give 15
    assert lines[1] == 'validation part: 100 characters, 5.00% of them unknown, read as U+FFFD'
    assert re.fullmatch(r'epoch 100, perplexity \d+\.\d\d, time \d+\.\d\d sec, valid \d+\.\d\d', lines[2])
    assert lines[3].startswith(' - 分囧')
    assert '囧' not in json.loads((folder / 'held' / 'vocabulary.json').read_text('utf-8'))['characters']

    best = json.loads((folder / 'held' / 'best' / 'best.json').read_text())
    (figures, latest) = (
        json.loads(run('pipeline.evaluate', '--run_dir=held', '--json', *extra).stdout)
        for extra in ([], ['--checkpoint=latest'])
    )
    assert (figures['num_characters'], figures['num_predicted'], figures['unknown_rate']) == (100, 100, 0.05)
    assert figures['nats_per_character'] == best['nats_per_character'] <= latest['nats_per_character']
    assert f'{latest["perplexity"]:.2f}' == lines[2].split()[-1]
    assert figures['perplexity'] < figures['uniform']['perplexity']

    other = run('pipeline.evaluate', '--run_dir=held', '--corpus=mine.txt', '--max_characters=50')
    assert '50 characters, 49 predicted, 0.00% unknown' in other.stdout
    exported = run('export.saved_model', '--run_dir=held', '--model_dir=models/held')
    assert exported.stdout.startswith(f'held/best/{best["checkpoint"]} -> models/held/1')
    described = _description(folder / 'models' / 'held' / '1')
    assert described['checkpoint'] == {'name': f'best/{best["checkpoint"]}', 'step': best['step']}
    assert described['perplexity']['valid'] == figures['perplexity']
    assert 1 < described['perplexity']['train'] < figures['uniform']['perplexity']
    generated = run('export.generate', '--model_dir=models/held', '--prefix=囧分', '--length=9', '--temperature=2')
    assert len(generated.stdout.rstrip('\n')) == 11
    assert generated.stdout.startswith('囧分')


def test_run_may_begin_with_the_weights_of_an_exported_model(trained, run, folder):
    assert run('export.saved_model', '--model_dir=models/source').returncode == 0
    (folder / 'again.txt').write_text('囧' + TEXT[:300], 'utf-8')
    flags = ['--corpus=again.txt', '--init_from=models/source/1', '--run_dir=again', '--num_epochs=1']
    found = run('pipeline.train', *flags, *QUICK)
    assert found.returncode == 0, found.stderr
    assert 'starts from the weights of models/source/1/variables/variables: ' in found.stdout
    assert json.loads((folder / 'again' / 'config.json').read_text())['config']['init_from'] == 'models/source/1'


def test_test_part_is_only_read_by_evaluation(trained, run, folder):
    (folder / 'three.txt').write_text(TEXT[:450] + '囧' * 50, 'utf-8')
    parts = ['--corpus=three.txt', '--valid_fraction=0.1', '--test_fraction=0.1']
    for seed in (0, 1):
        trained = run('pipeline.train', *parts, f'--run_dir=three-{seed}', f'--seed={seed}', '--num_epochs=9', *QUICK)
        assert trained.returncode == 0, trained.stderr
        lines = trained.stdout.splitlines()
        assert lines[1].startswith('validation part: 50 characters, 0.00% of them unknown')
        assert lines[2] == 'test part, not read in training: 50 characters'
    refused = run('pipeline.evaluate', '--run_dir=three-0')
    assert 'the test part is too short to evaluate: the vocabulary has 0 of its 50 characters' in refused.stderr
    both = ['--run_dir=three-0', '--run_dir=three-1', '--part=valid', '--baselines', '--cache', '--json']
    figures = json.loads(run('pipeline.evaluate', *both).stdout)
    assert {'model_2', 'kneser_ney_7', 'model_cache', 'num_new'} <= figures.keys()
    adapted = ['--run_dir=three-0', '--corpus=mine.txt', '--dynamic', '--json']
    chosen = json.loads(run('pipeline.evaluate', *adapted).stdout)
    assert chosen['weights']['mixture_adaptive'].keys() == {'model', 'model_dynamic'}
    again = run('pipeline.evaluate', *adapted, '--constants_of=three-0')
    assert json.loads(again.stdout) == chosen
    (other,) = folder.glob('runs/mine-consecutive-*')
    mixed = run('pipeline.evaluate', '--run_dir=three-0', f'--run_dir={other}', '--part=valid')
    assert 'their corpus differs. Give runs on the same parts of the same text.' in mixed.stderr


def test_evaluating_a_run_without_a_held_out_part_names_the_way_out(trained, run):
    refused = run('pipeline.evaluate')
    assert refused.returncode == 1
    assert 'has no valid part: valid_fraction=0. Evaluate on another text with --corpus' in refused.stderr


def test_divergence_is_an_error_that_names_the_way_out(run):
    flags = ['--corpus=mine.txt', '--clip_norm=0', '--learning_rate=3e38', '--run_dir=diverged', *QUICK]
    result = run('pipeline.train', *flags)
    assert result.returncode == 1
    assert re.match(r'error: training diverged at step \d+ .*--clip_norm', result.stderr)


@pytest.mark.parametrize(
    ('program', 'flags', 'message'),
    [
        ('pipeline.train', ['--corpus=mine.text'], 'Did you mean mine.txt?'),
        ('pipeline.train', ['--hiden_size=3'], 'Did you mean: hidden_size'),
        ('pipeline.train', ['--hidden_size=0'], 'error: hidden_size=0 must be'),
        ('export.generate', [b'--prefix=\xb7\xd6'], "the argument b'--prefix=\\xb7\\xd6' is not utf-8"),
        ('pipeline.train', ['mine.txt'], "error: unexpected argument 'mine.txt'"),
        ('pipeline.train', ['--early_stopping_patience=3'], 'needs a held-out part to evaluate'),
        ('pipeline.evaluate', ['--run_dir=nowhere'], 'is not a run'),
        ('pipeline.train', ['--export_flags=nowhere/f'], 'its folder is missing or read-only'),
        ('pipeline.train', ['--prefixes=xyz'], "'x' (U+0078), which is not among"),
        ('export.generate', ['--prefix=分', '--model_dir=nowhere'], 'holds no exported model'),
        ('export.saved_model', ['--run_dir=nowhere'], 'is not a run'),
        ('pipeline.train', ['--run_dir=a[b]'], "run_dir='a[b]' contains '['"),
        ('pipeline.evaluate', ['--run_dir=a?'], "run_dir='a?' contains '?'"),
        ('export.saved_model', ['--model_dir=a*'], "model_dir='a*' contains '*'"),
        ('export.serve', ['--model_base_path=a]'], "model_base_path='a]' contains ']'"),
        ('export.generate', ['--prefix=分', '--model_dir=~/nowhere'], str(pathlib.Path.home() / 'nowhere')),
        ('export.serve', ['--model_config_file=~/nowhere'], str(pathlib.Path.home() / 'nowhere')),
    ],
)
def test_error_is_one_line_on_stderr_and_exit_code_1(run, program, flags, message):
    result = run(program, *flags)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count('\n') == 1


@pytest.mark.parametrize(
    ('program', 'flag'),
    [
        ('pipeline.train', '--help'),
        ('pipeline.evaluate', '--help'),
        ('export.saved_model', '--help'),
        ('export.generate', '-h'),
    ],
)
def test_help_has_examples_and_exit_code_0(run, program, flag):
    result = run(program, flag)
    assert result.returncode == 0
    assert f'python -m {program}' in result.stdout


def test_help_escapes_characters_outside_the_terminals_encoding(run, folder, program_environment):
    environment = program_environment | {'PYTHONIOENCODING': 'ascii'}
    command = _command('export.generate', '--help')
    shown = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True).stdout
    assert rb'--prefix=\u5206\u5f00' in shown
