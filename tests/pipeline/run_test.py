"""What a run refuses, records and reports."""

import contextlib
import hashlib

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from pipeline import run, run_directory
from pipeline.checkpoints import load_model
from pipeline.model import CharRNN
from pipeline.trainer import Trainer
from tests.conftest import TEXT, write_record
from tests.pipeline.small_runs import VOCABULARY, train, trainer_of

pytestmark = pytest.mark.slow


def test_seed_determines_the_order_of_windows(tmp_path, config):
    """From the same first weights, which the seed draws too, only the order can make other weights."""
    trained = []
    for seed in (0, 1):
        of_seed = config.replace({'seed': seed})
        run.run(of_seed, tmp_path / str(seed))
        load_model(tmp_path / str(seed), model := CharRNN(of_seed.model, len(VOCABULARY)))
        trained.append(np.concatenate([np.ravel(weight) for weight in model.variables]))
    assert np.any(trained[0] != trained[1])


def test_start_that_fails_leaves_no_run_dir(tmp_path, config, monkeypatch):
    def no_memory(*_):
        raise tf.errors.ResourceExhaustedError(None, None, 'OOM')

    monkeypatch.setattr('pipeline.trainer.CharRNN', no_memory)
    for run_dir in (None, tmp_path / 'run'):
        with pytest.raises(InputError, match='the memory does not suffice'):
            run.run(config, run_dir)
    assert not list((tmp_path / 'runs').iterdir())
    assert not (tmp_path / 'run').exists()


def test_new_run_dir_is_made_only_if_the_settings_fit_the_text(config, tmp_path):
    with pytest.raises(InputError, match='too short for one minibatch'):
        run.run(config.replace({'num_steps': 999}), None)
    assert not (tmp_path / 'runs').exists()
    run.run(config, None)
    assert run_directory.latest_run_dir() == next((tmp_path / 'runs').iterdir()).relative_to(tmp_path)


def test_another_text_is_named_before_what_does_not_fit_it(config, tmp_path):
    run.run(config.replace({'prefixes': ['分开']}), tmp_path / 'run')
    (tmp_path / 'other.txt').write_text('neither of these ' * 100)
    other = config.replace({'prefixes': ['分开'], 'corpus': str(tmp_path / 'other.txt')})
    with pytest.raises(InputError, match='holds another run: the text'):
        run.run(other, tmp_path / 'run')


def test_bptt_windows_cannot_exceed_the_minibatches_of_an_epoch(config, tmp_path):
    consecutive = config.replace({'sampling': 'consecutive', 'num_epochs': 1})
    run.run(consecutive.replace({'bptt_windows': 2}), tmp_path / 'run')
    with pytest.raises(InputError, match='bptt_windows=3 is more than the 2 minibatches of an epoch'):
        run.run(consecutive.replace({'bptt_windows': 3}), tmp_path / 'other')


def test_locked_run_dir_is_not_touched(tmp_path, config):
    with run_directory.lock(tmp_path / 'run'):
        before = list((tmp_path / 'run').iterdir())
        with pytest.raises(InputError, match='in use by another run'):
            run.run(config, tmp_path / 'run')
        assert list((tmp_path / 'run').iterdir()) == before


def test_run_is_compared_with_the_record_after_locking(config, tmp_path, monkeypatch):
    """Another one may begin there in between."""
    lock = run_directory.lock

    @contextlib.contextmanager
    def another_was_faster(run_dir):
        write_record(run_dir, config, VOCABULARY, TEXT)
        with lock(run_dir):
            yield

    monkeypatch.setattr(run_directory, 'lock', another_was_faster)
    with pytest.raises(InputError, match='--seed is 1, was 0'):
        run.run(config.replace({'seed': 1}), tmp_path / 'run')


def test_recorded_counts_are_of_the_training_part(config, tmp_path):
    text = 'aacab' * 40 + 'b' * 200
    (tmp_path / 'mine.txt').write_text(text, 'utf-8')
    run.run(config.replace({'valid_fraction': 0.5, 'min_count': 50, 'prefixes': ('a',)}), tmp_path / 'run')
    recorded = run_directory.read(tmp_path / 'run')
    counts = dict(zip(recorded.vocabulary.characters, recorded.counts, strict=True))
    assert counts == {'a': 120, '\ufffd': 80}
    assert recorded.corpus_sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_fewer_epochs_than_trained_do_not_change_the_record(config, tmp_path, capsys):
    run.run(config, tmp_path / 'run')
    before = (tmp_path / 'run' / 'config.json').read_bytes()
    run.run(config.replace({'num_epochs': 1}), tmp_path / 'run')
    printed = capsys.readouterr().out
    assert 'nothing left to train: 2 epochs are done. To continue, give a --num_epochs above 2' in printed
    assert 'resumes' not in printed
    assert (tmp_path / 'run' / 'config.json').read_bytes() == before


def test_length_of_a_run_with_a_falling_rate_is_fixed(config, tmp_path, capsys):
    falling = config.replace({'schedule': 'cosine'})
    run.run(falling, tmp_path / 'run')
    run.run(falling, tmp_path / 'run')
    printed = capsys.readouterr().out
    assert '2 epochs are done, where schedule=cosine ends. To train longer, start a new run' in printed
    with pytest.raises(InputError, match=r'depends on its length .*--num_epochs is 3, was 2\. To train longer, start'):
        run.run(falling.replace({'num_epochs': 3}), tmp_path / 'run')


def test_axis_of_the_curves_cannot_change(config, tmp_path):
    run.run(config, tmp_path / 'run')
    with pytest.raises(InputError, match=r"--log_every is '7', was '1ep'"):
        run.run(config.replace({'log_every': '7', 'num_epochs': 3}), tmp_path / 'run')
    run.run(config.replace({'log_every': '2ep', 'num_epochs': 3}), tmp_path / 'run')


def test_run_that_its_time_ends_is_evaluated_and_has_nothing_left(config, tmp_path, capsys):
    settings = {'max_seconds': 1, 'num_epochs': 10**6, 'valid_fraction': 0.2, 'evaluate_every': '1000000ep'}
    for _ in range(2):
        run.run(config.replace(settings), tmp_path / 'run')
    assert (tmp_path / 'run' / 'best' / 'best.json').exists()
    assert capsys.readouterr().out.splitlines()[-1].startswith('nothing left to train: max_seconds=1 are over')


@pytest.mark.parametrize(('steps', 'noted'), [(3, False), (4, True)])
def test_warm_up_that_does_not_end_is_reported(config, tmp_path, capsys, steps, noted):
    run.run(config.replace({'warmup_steps': steps}), tmp_path / 'run')
    sentence = 'warmup_steps=4 is not less than the 4 minibatches of the run: the learning rate never reaches 100'
    assert (sentence in capsys.readouterr().out) == noted


@pytest.mark.parametrize(
    ('settings', 'advice'),
    [
        ({'clip_norm': 0.0}, '--clip_norm=0.01 or a --learning_rate below 100'),
        ({'clip_norm': 10.0}, 'a --learning_rate below 100'),
        ({'optimizer': 'adam', 'learning_rate': 1.0}, 'a --learning_rate below 1'),
        ({'init_scale': 10.0}, '--init_scale=0.01 or a --learning_rate below 100'),
        ({'clip_norm': 0.0, 'learning_rate': 0.1}, None),
        ({'learning_rate': 0.0}, None),
        ({}, None),
    ],
)
def test_epoch_worse_than_guessing_is_reported_once(tmp_path, capsys, settings, advice):
    train(tmp_path, trainer_of(num_epochs=3, **settings), None)
    printed = capsys.readouterr().out
    assert printed.count(f'guessing among all {len(VOCABULARY)} characters') == (advice is not None)
    assert advice is None or f'What to try: {advice}\n' in printed


def test_out_of_memory_names_the_settings_to_lower(tmp_path, config, monkeypatch):
    error = tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating tensor with shape[9,4] and type float on')
    monkeypatch.setattr(Trainer, 'train', lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(InputError, match=r'does not suffice for a tensor with shape\[9,4\]\. Lower --hidden_size'):
        run.run(config, tmp_path / 'run')


@pytest.mark.parametrize(('message', 'named'), [('CUDA_ERROR_OUT_OF_MEMORY: out of memory', True), ('cuDNN', False)])
def test_full_memory_of_a_gpu_is_named_too(tmp_path, config, monkeypatch, message, named):
    """TensorFlow reports it as an internal error; other internal errors pass."""
    error = tf.errors.InternalError(None, None, message)
    monkeypatch.setattr(Trainer, 'train', lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(InputError if named else tf.errors.InternalError, match='the memory' if named else 'cuDNN'):
        run.run(config, tmp_path / 'run')


def test_full_disk_is_not_reported_as_full_memory(tmp_path, config, monkeypatch):
    error = tf.errors.ResourceExhaustedError(None, None, 'runs/a/x; No space left on device')
    monkeypatch.setattr(Trainer, 'train', lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(InputError, match=r'the disk is full: runs/a/x; No space left on device\. Make room'):
        run.run(config, tmp_path / 'run')
