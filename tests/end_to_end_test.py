"""The programs as a user runs them: train, interrupt, go on, export, generate, and mistakes on the way."""

import hashlib
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import TEXT

SMALL = ['--hidden_size=16', '--batch_size=4', '--num_steps=8', '--sample_length=10', '--sample_every=100']


def _command(program: str, *flags: str) -> list[str]:
    return [sys.executable, '-m', program, *flags]


@pytest.fixture(scope='module')
def place(tmp_path_factory, program_environment):
    """A folder of the user's own, with a text in it, to run programs in."""
    folder = tmp_path_factory.mktemp('user')
    (folder / 'mine.txt').write_text(TEXT, 'utf-8')

    def run(program: str, *flags: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            _command(program, *flags), cwd=folder, env=program_environment, capture_output=True, text=True
        )

    run.folder = folder
    return run


@pytest.fixture(scope='module')
def trained(place):
    """A finished run under runs/, 500 short epochs."""
    result = place('pipeline.train', '--corpus=mine.txt', '--num_epochs=500', '--sampling=consecutive', *SMALL)
    assert result.returncode == 0, result.stderr
    return result


def _weights(run_dir) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run_dir / 'checkpoints'))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(('model', 'optimizer', 'state'))]
    assert len(names) > 6
    return {name: reader.get_tensor(name) for name in names}


def _description(version_dir) -> dict:
    return json.loads((version_dir / 'assets.extra' / 'charrnn.json').read_text('utf-8'))


def test_training_prints_the_sections_lines_and_nothing_of_tensorflow(trained):
    lines = trained.stdout.splitlines()
    of_text = f'{len(TEXT)} characters, {len(set(TEXT))} distinct'
    assert re.fullmatch(rf'mine\.txt: {of_text}; \d+ minibatches .*; [\d,]+ parameters on .*; runs/mine-.*', lines[0])
    epoch_line = re.compile(r'epoch (\d+), perplexity \d+\.\d\d, time \d+\.\d\d sec')
    assert [epoch_line.fullmatch(line)[1] for line in lines[1:-1:3]] == ['100', '200', '300', '400', '500']
    assert [line[:5] for line in lines[2:4]] == [' - 分开', ' - 不分']
    assert [len(line) for line in lines[2:4]] == [3 + 2 + 10, 3 + 3 + 10]
    assert lines[-1].startswith('saved in runs/mine-consecutive-')
    assert trained.stderr == ''


def test_export_takes_the_newest_run_and_generate_the_newest_version(trained, place):
    exported = place('export.saved_model')
    assert exported.returncode == 0, exported.stderr
    assert 'models/charrnn/1' in exported.stdout
    last_samples = [line[3:] for line in trained.stdout.splitlines() if line.startswith(' - ')][-2:]
    generated = place('export.generate', '--prefix=分开,不分开', '--length=10')
    assert generated.stdout.splitlines() == last_samples
    assert generated.stderr == ''


def test_an_exported_model_says_where_it_comes_from_and_old_versions_go(trained, place):
    """Corpus, settings, checkpoint and the perplexity that the run printed last; nothing was held out."""
    flags = ['--model_dir=models/described', '--max_length=12', '--max_prefix=7', '--keep_versions=1']
    (place.folder / 'tensorflow_serving.py').write_text('raise ImportError')  # as if it were not installed
    try:
        first = place('export.saved_model', *flags)
    finally:
        (place.folder / 'tensorflow_serving.py').unlink()
    assert first.stderr.startswith('no warm-up requests in it: install tensorflow-serving-api')
    found = _description(place.folder / 'models' / 'described' / '1')
    (run_dir,) = place.folder.glob('runs/mine-consecutive-*')
    recorded = json.loads((run_dir / 'config.json').read_text('utf-8'))
    assert found['config'] == recorded['config']
    assert found['corpus'] == {'name': 'mine.txt', 'sha256': hashlib.sha256(TEXT.encode()).hexdigest()}
    assert found['limits'] == {'max_length': 12, 'max_prefix': 7}
    assert found['default_length'] == 10
    step = 500 * int(re.search(r'(\d+) minibatches an epoch', trained.stdout)[1])
    assert found['checkpoint'] == {'name': f'checkpoints/ckpt-{step}', 'step': step}
    printed = re.findall(r'perplexity (\d+\.\d\d)', trained.stdout)[-1]
    assert f'{found["perplexity"]["train"]:.2f}' == printed
    assert found['perplexity']['valid'] is None

    second = place('export.saved_model', *flags)
    assert second.stderr == ''
    assert second.stdout.splitlines()[1] == 'removed models/described/1'
    assert [path.name for path in (place.folder / 'models' / 'described').iterdir()] == ['2']


def test_an_interrupted_run_goes_on_with_the_same_command_to_the_same_bits(trained, place, program_environment):
    """Ctrl-C after the first lines; the rest is as if it had not been. `--run_dir` alone is enough to go on."""
    (unbroken,) = place.folder.glob('runs/mine-consecutive-*')
    flags = ['--corpus=mine.txt', '--run_dir=broken', '--num_epochs=500', '--sampling=consecutive', *SMALL]
    process = subprocess.Popen(
        _command('pipeline.train', *flags), cwd=place.folder, env=program_environment, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith('epoch 100'):
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    resumed = place('pipeline.train', '--run_dir=broken')
    assert int(re.search(r'goes on after epoch (\d+) of 500', resumed.stdout)[1]) < 500
    assert resumed.returncode == 0, resumed.stderr
    for name, value in _weights(unbroken).items():
        np.testing.assert_array_equal(_weights(place.folder / 'broken')[name], value, err_msg=name)


def test_a_finished_run_trains_on_with_more_epochs_and_says_when_there_is_nothing_left(trained, place):
    (run_dir,) = place.folder.glob('runs/mine-consecutive-*')
    again = place('pipeline.train', f'--run_dir={run_dir}')
    assert again.returncode == 0
    assert 'nothing left to train' in again.stdout
    longer = place('pipeline.train', f'--run_dir={run_dir}', '--num_epochs=502')
    assert 'goes on after epoch 500 of 502' in longer.stdout
    assert 'epoch 502, perplexity' in longer.stdout
    assert json.loads((run_dir / 'config.json').read_text('utf-8'))['config']['num_epochs'] == 502


def test_another_run_in_its_place_is_refused_and_nothing_changes(trained, place):
    (run_dir,) = place.folder.glob('runs/mine-consecutive-*')
    before = (run_dir / 'config.json').read_bytes()
    refused = place('pipeline.train', f'--run_dir={run_dir}', '--hidden_size=17')
    assert refused.returncode == 1
    assert refused.stderr.startswith('error: run_dir')
    assert '--hidden_size is 17, was 16' in refused.stderr
    assert (run_dir / 'config.json').read_bytes() == before


def test_a_run_with_a_held_out_part_is_watched_evaluated_and_exported_at_its_best(place):
    """The tail has a character of its own: the vocabulary has not, and it is read as unknown everywhere."""
    (place.folder / 'tail.txt').write_text(TEXT[:400] + TEXT[:95] + '囧囧囧囧囧', 'utf-8')
    flags = ['--corpus=tail.txt', '--run_dir=held', '--valid_fraction=0.2', '--min_count=2', '--num_epochs=100', *SMALL]
    trained = place('pipeline.train', *flags, '--prefixes=分囧')
    assert trained.returncode == 0, trained.stderr
    lines = trained.stdout.splitlines()
    assert '; 12 minibatches an epoch;' in lines[0]  # of the 400 characters before the tail; 500 make 15
    assert lines[1] == 'held out: the last 100 characters, 5.00% of them unknown, read as U+FFFD'
    assert re.fullmatch(r'epoch 100, perplexity \d+\.\d\d, time \d+\.\d\d sec, valid \d+\.\d\d', lines[2])
    assert lines[3].startswith(' - 分囧')
    assert '囧' not in json.loads((place.folder / 'held' / 'vocabulary.json').read_text('utf-8'))['characters']

    best = json.loads((place.folder / 'held' / 'best' / 'best.json').read_text())
    (figures, latest) = (
        json.loads(place('pipeline.evaluate', '--run_dir=held', '--json', *extra).stdout)
        for extra in ([], ['--checkpoint=latest'])
    )
    assert (figures['num_characters'], figures['num_predicted'], figures['unknown_rate']) == (100, 99, 0.05)
    assert figures['nats_per_character'] == best['nats_per_character'] <= latest['nats_per_character']
    assert f'{latest["perplexity"]:.2f}' == lines[2].split()[-1]
    assert figures['perplexity'] < figures['uniform']['perplexity']

    other = place('pipeline.evaluate', '--run_dir=held', '--corpus=mine.txt', '--max_characters=50')
    assert '50 characters, 49 predicted, 0.00% unknown' in other.stdout
    exported = place('export.saved_model', '--run_dir=held', '--model_dir=models/held')
    assert exported.stdout.startswith(f'held/best/{best["checkpoint"]} -> models/held/1')
    described = _description(place.folder / 'models' / 'held' / '1')
    assert described['checkpoint'] == {'name': f'best/{best["checkpoint"]}', 'step': best['step']}
    assert described['perplexity']['valid'] == figures['perplexity']
    assert 1 < described['perplexity']['train'] < figures['uniform']['perplexity']
    generated = place('export.generate', '--model_dir=models/held', '--prefix=囧分', '--length=9', '--temperature=2')
    assert len(generated.stdout.rstrip('\n')) == 11
    assert generated.stdout.startswith('囧分')


def test_a_run_without_a_held_out_part_says_how_to_evaluate_it(trained, place):
    refused = place('pipeline.evaluate')
    assert refused.returncode == 1
    assert 'held out no text: valid_fraction=0. Name one that it has not seen with --corpus' in refused.stderr


def test_divergence_is_explained(place):
    flags = ['--corpus=mine.txt', '--clip_norm=0', '--learning_rate=3e38', '--run_dir=diverged', *SMALL]
    result = place('pipeline.train', *flags)
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
        ('pipeline.train', ['--prefixes=xyz'], "'x' (U+0078), which is not among"),
        ('export.generate', ['--prefix=分', '--model_dir=nowhere'], 'holds no exported model'),
        ('export.saved_model', ['--run_dir=nowhere'], 'is not a run'),
    ],
)
def test_a_mistake_costs_one_line_and_exit_code_1(place, program, flags, message):
    result = place(program, *flags)
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
def test_help_teaches_and_is_no_failure(place, program, flag):
    result = place(program, flag)
    assert result.returncode == 0
    assert f'python -m {program}' in result.stdout


def test_a_terminal_that_has_not_the_characters_is_no_failure(place, program_environment):
    environment = program_environment | {'PYTHONIOENCODING': 'ascii'}
    command = _command('export.generate', '--help')
    shown = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, check=True).stdout
    assert rb'--prefix=\u5206\u5f00' in shown
