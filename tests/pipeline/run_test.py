"""The loop around the trainer: the held-out part, the best weights, early stopping and what resuming makes of them."""

import contextlib
import hashlib
import json
import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from data.ids import Ids
from data.vocabulary import Vocabulary
from data.windows import Windows
from pipeline import run, run_directory
from pipeline.checkpoints import BestCheckpoint, Checkpoints, load_model
from pipeline.config import Config, ModelConfig, TrainingConfig
from pipeline.dataset import EncodedText
from pipeline.interrupts import StopRequest
from pipeline.intervals import Interval
from pipeline.model import CharRNN
from pipeline.monitor import Monitor
from pipeline.profiler import Profiler
from pipeline.samples import Samples
from pipeline.scorer import Scorer
from pipeline.trainer import Trainer
from tests.conftest import TEXT, write_record

pytestmark = pytest.mark.slow

VOCABULARY = Vocabulary.from_text(TEXT)
IDS = Ids.of(VOCABULARY.encode(TEXT))
LOSSES = [5.0, 4.0, 4.5, 4.0, float('nan'), 3.0, 2.0]  # the best is the second; a tie is no improvement
EVERY_30_SECONDS = Interval(seconds=30)


def _trainer(**config) -> Trainer:
    windows = Windows(len(TEXT), 4, 8)
    model = CharRNN(ModelConfig(hidden_size=8, init_scale=config.pop('init_scale', 0.01)), len(VOCABULARY))
    return Trainer(model, windows, TrainingConfig(**{'sample_every': '0', 'log_every': '1ep', 'jit': False} | config))


def _train(run_dir, trainer: Trainer, loss, every: Interval = EVERY_30_SECONDS) -> None:
    per_epoch = trainer.windows.steps_per_epoch
    run_dir.mkdir(exist_ok=True)
    checkpoints = Checkpoints(run_dir, trainer, every)
    checkpoints.restore()
    trainer.know_reported_step()
    best = BestCheckpoint(run_dir, trainer.model)
    monitor = Monitor(run_dir, 0, 1, int(trainer.reported_step), per_epoch, has_valid=loss is not None, terminal=False)
    with contextlib.closing(monitor), StopRequest() as stop:
        samples = Samples(trainer.model, VOCABULARY)
        run.Run(trainer, IDS, checkpoints, best, monitor, Profiler(run_dir, None), stop, samples, loss).train()


def _in_turn(losses: list[float]):
    left = iter(losses)
    return lambda _: next(left)


def _best(run_dir) -> dict:
    return json.loads((run_dir / 'best' / 'best.json').read_text())


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """The config of a run with 2 minibatches per epoch, in the folder of its text; all initial weights are 0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.txt').write_text(TEXT, 'utf-8')
    settings = {'corpus': 'mine.txt', 'hidden_size': 4, 'init_scale': 0.0, 'jit': False, 'sample_every': '0'}
    return Config.from_dict(settings | {'batch_size': 32, 'num_steps': 5, 'num_epochs': 2})


def test_seed_determines_the_order_of_windows(tmp_path, config):
    """From the same first weights, which the seed draws too, only the order can make other weights."""
    trained = []
    for seed in (0, 1):
        of_seed = config.replace({'seed': seed})
        run.run(of_seed, tmp_path / str(seed))
        load_model(tmp_path / str(seed), model := CharRNN(of_seed.model, len(VOCABULARY)))
        trained.append(np.concatenate([np.ravel(weight) for weight in model.variables]))
    assert np.any(trained[0] != trained[1])


def test_locked_run_dir_is_not_touched(tmp_path, config):
    with run_directory.lock(tmp_path / 'run'):
        before = list((tmp_path / 'run').iterdir())
        with pytest.raises(InputError, match='in use by another run'):
            run.run(config, tmp_path / 'run')
        assert list((tmp_path / 'run').iterdir()) == before


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


def test_ctrl_c_stops_the_run_within_the_next_epoch(tmp_path):
    trainer = _trainer(num_epochs=9)
    per_epoch = trainer.windows.steps_per_epoch

    def loss(_) -> float:
        if trainer.step == 2 * per_epoch:
            signal.raise_signal(signal.SIGINT)
        return 4.0

    _train(tmp_path, trainer, loss)
    assert trainer.step <= 3 * per_epoch
    assert tf.train.latest_checkpoint(str(tmp_path / 'checkpoints')).endswith(f'ckpt-{trainer.step}')


def test_evaluation_may_read_the_start_of_the_held_out_part_alone(config, tmp_path):
    """It equals the evaluation of a text that ends there."""
    held_out = config.replace({'corpus': 'mine.txt', 'num_epochs': 1, 'init_scale': 0.5})
    (tmp_path / 'long.txt').write_text('风雪山水风山' * 5, 'utf-8')
    (tmp_path / 'short.txt').write_text('风雪山水', 'utf-8')
    for name, settings in {
        'limited': {'valid_corpus': 'long.txt', 'max_evaluate_characters': 4},
        'short': {'valid_corpus': 'short.txt'},
        'whole': {'valid_corpus': 'long.txt'},
    }.items():
        run.run(held_out.replace(settings), tmp_path / name)
    assert _best(tmp_path / 'limited') == _best(tmp_path / 'short') != _best(tmp_path / 'whole')


@pytest.mark.parametrize('stopped_epoch', [1, 2, 3])
def test_evaluation_that_a_signal_ends_is_repeated_by_the_resumed_run(tmp_path, stopped_epoch):
    """The losses are noted once each, the last epoch included."""
    patience = {'num_epochs': 3, 'early_stopping_patience': 2}
    unbroken = _trainer(**patience)
    _train(tmp_path / 'unbroken', unbroken, _in_turn([4.0, 5.0, 3.0]))

    stopped = _trainer(**patience)

    def signalled(poll) -> float:
        if stopped.step == stopped_epoch * stopped.windows.steps_per_epoch:
            signal.raise_signal(signal.SIGTERM)
        poll()
        return [4.0, 5.0][stopped.step // stopped.windows.steps_per_epoch - 1]

    _train(tmp_path / 'broken', stopped, signalled)
    assert stopped.step == stopped_epoch * stopped.windows.steps_per_epoch
    assert stopped.num_epochs_done == stopped_epoch - 1
    resumed = _trainer(**patience)
    _train(tmp_path / 'broken', resumed, _in_turn([4.0, 5.0, 3.0][stopped_epoch - 1 :]))
    assert resumed.is_done
    assert _best(tmp_path / 'broken') == _best(tmp_path / 'unbroken')
    for ours, theirs in zip(resumed.variables, unbroken.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


def test_signal_before_the_samples_leaves_them_to_the_resumed_run(config, tmp_path, monkeypatch, capsys):
    sampled = config.replace({'sample_every': '2ep', 'prefixes': ('风',), 'sample_length': 3})
    point = Monitor.point

    def signalled(self, progress, *rest):
        point(self, progress, *rest)
        if progress.epoch == 2:
            signal.raise_signal(signal.SIGHUP)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, 'point', signalled)
        assert run.run(sampled, tmp_path / 'run').exit_code == 129
    assert ' - 风' not in capsys.readouterr().out
    assert run.run(sampled, tmp_path / 'run') == (tmp_path / 'run', 0)
    printed = capsys.readouterr().out
    assert 'resumes after epoch 1 of 2\nepoch 2, perplexity' in printed
    assert printed.count(' - 风') == 1


def test_evaluation_before_a_signal_is_counted_once(tmp_path, monkeypatch):
    """The signal comes between the evaluation and the samples of an epoch; the resumed run repeats both."""
    settings = {'num_epochs': 2, 'sample_every': '1ep', 'sample_length': 3, 'early_stopping_patience': 9}
    point = Monitor.point

    def signalled(self, progress, *rest):
        point(self, progress, *rest)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, 'point', signalled)
        _train(tmp_path, _trainer(**settings), _in_turn([4.0]))
    resumed = _trainer(**settings)
    _train(tmp_path, resumed, _in_turn([4.0, 5.0]))
    assert (resumed.early_stopping.best, resumed.early_stopping.since_best) == (4.0, 1)


def test_last_epoch_is_evaluated_whatever_the_interval(tmp_path):
    evaluated = []
    trainer = _trainer(num_epochs=5, evaluate_every='3ep')

    def loss(_) -> float:
        evaluated.append(trainer.step // trainer.windows.steps_per_epoch)
        return 4.0

    _train(tmp_path, trainer, loss)
    assert evaluated == [3, 5]


def test_run_that_its_time_ends_is_evaluated_and_has_nothing_left(config, tmp_path, capsys):
    settings = {'max_seconds': 1, 'num_epochs': 10**6, 'valid_fraction': 0.2, 'evaluate_every': '1000000ep'}
    for _ in range(2):
        run.run(config.replace(settings), tmp_path / 'run')
    assert (tmp_path / 'run' / 'best' / 'best.json').exists()
    assert capsys.readouterr().out.splitlines()[-1].startswith('nothing left to train: max_seconds=1 are over')


def test_run_of_an_older_version_resumes(tmp_path, monkeypatch):
    """Its checkpoints lack the variable `reported_step`."""
    unbroken = _trainer(num_epochs=4)
    _train(tmp_path / 'unbroken', unbroken, None)
    old = _trainer(num_epochs=2)
    del old.reported_step
    old.reported_step = -1  # not a variable
    with monkeypatch.context() as patched:
        patched.setattr(run.Run, '_report', lambda self, progress: None)
        patched.setattr(Trainer, 'know_reported_step', lambda self: None)
        _train(tmp_path / 'old', old, None)
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / 'old' / 'checkpoints'))]
    assert not any('reported_step' in name for name in names)
    resumed = _trainer(num_epochs=4)
    _train(tmp_path / 'old', resumed, None)
    assert int(resumed.reported_step) == int(unbroken.reported_step) == unbroken.step
    for ours, theirs in zip(resumed.model.variables, unbroken.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_curves_are_flushed_before_each_checkpoint(tmp_path, monkeypatch):
    """A run that is killed after the checkpoint resumes from it, and its curves would have a gap."""
    happened = []

    def recorded(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def record(*args, **kwargs):
            happened.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, record)

    for owner, name in ((Monitor, 'point'), (Monitor, 'flush'), (Checkpoints, 'save')):
        recorded(owner, name)
    _train(tmp_path, _trainer(num_epochs=3), None, every=Interval(steps=1))
    before_saves = [happened[n - 1] for n, name in enumerate(happened) if name == 'save']
    assert len(before_saves) >= 3
    assert set(before_saves) == {'flush'}


def test_early_stopping_saves_after_its_patience(tmp_path, capsys):
    """Evaluated after epochs 2, 4, 6 …: the best is that of 4, and the third without a better one that of 10."""
    trainer = _trainer(num_epochs=30, evaluate_every='2ep', early_stopping_patience=3)
    _train(tmp_path, trainer, _in_turn(LOSSES))
    per_epoch = trainer.windows.steps_per_epoch
    assert trainer.step == 10 * per_epoch
    assert 'stopped early: the best valid perplexity, 54.60, is 3 evaluations old' in capsys.readouterr().out
    best = _best(tmp_path)
    assert 0 < best.pop('train_nats_per_character') < 10
    assert best == {
        'checkpoint': f'ckpt-{4 * per_epoch}', 'step': 4 * per_epoch, 'epoch': 4, 'nats_per_character': 4.0,
    }  # fmt: skip
    assert tf.train.latest_checkpoint(str(tmp_path / 'checkpoints')).endswith(f'ckpt-{10 * per_epoch}')
    assert 'give a larger --early_stopping_patience' in run.nothing_left(trainer)


def test_early_stopping_is_off_by_default(tmp_path):
    trainer = _trainer(num_epochs=6)
    _train(tmp_path, trainer, lambda _: 4.0)
    assert trainer.step == 6 * trainer.windows.steps_per_epoch


@pytest.mark.parametrize('epochs_before', [1, 3, 4])
def test_resumed_run_stops_where_an_unbroken_run_does(tmp_path, epochs_before):
    """The best so far and the patience used up are in the checkpoint."""
    patience = {'early_stopping_patience': 3}
    unbroken = _trainer(num_epochs=30, **patience)
    _train(tmp_path / 'unbroken', unbroken, _in_turn(LOSSES))

    losses = _in_turn(LOSSES)
    _train(tmp_path / 'broken', _trainer(num_epochs=epochs_before, **patience), losses)
    resumed = _trainer(num_epochs=30, **patience)
    _train(tmp_path / 'broken', resumed, losses)
    assert resumed.step == unbroken.step == 5 * unbroken.windows.steps_per_epoch
    assert _best(tmp_path / 'broken') == _best(tmp_path / 'unbroken')
    for ours, theirs in zip(resumed.variables, unbroken.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


def test_best_loss_is_recorded_only_after_its_weights_are_saved(tmp_path, monkeypatch):
    """The previous weights stay, and early stopping is not updated, so that a resumed run repeats the evaluation."""
    trainer = _trainer(num_epochs=1)
    _train(tmp_path, trainer, lambda _: 4.0)
    files = {path.name: path.read_bytes() for path in (tmp_path / 'best').iterdir()}

    def full_disk(self, path):
        pathlib.Path(path).parent.mkdir()
        pathlib.Path(f'{path}.data-00000-of-00001').touch()
        raise tf.errors.ResourceExhaustedError(None, None, 'no space left')

    monkeypatch.setattr(tf.train.Checkpoint, 'write', full_disk)
    with pytest.raises(
        InputError, match=r'cannot save checkpoint \d+ in .*best: no space left.*last good one is .*ckpt-'
    ):
        _train(tmp_path, longer := _trainer(num_epochs=2), lambda _: 3.0)
    assert longer.early_stopping.best == 4.0
    assert {path.name: path.read_bytes() for path in (tmp_path / 'best').iterdir()} == files


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
    _train(tmp_path, _trainer(num_epochs=3, **settings), None)
    printed = capsys.readouterr().out
    assert printed.count(f'guessing among all {len(VOCABULARY)} characters') == (advice is not None)
    assert advice is None or f'What to try: {advice}\n' in printed


def test_evaluation_does_not_change_training(tmp_path):
    evaluated, alone = (_trainer(num_epochs=3, evaluate_every=every) for every in ('1ep', '0'))
    scorer = Scorer(evaluated.model)
    _train(tmp_path / 'evaluated', evaluated, lambda _: scorer.nats(EncodedText(Ids.of(IDS[:50]), 0, 50, 0)))
    _train(tmp_path / 'alone', alone, None)
    for ours, theirs in zip(evaluated.model.variables, alone.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not (tmp_path / 'alone' / 'best').exists()


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


@pytest.mark.parametrize(('steps', 'noted'), [(3, False), (4, True)])
def test_warm_up_that_does_not_end_is_reported(config, tmp_path, capsys, steps, noted):
    run.run(config.replace({'warmup_steps': steps}), tmp_path / 'run')
    sentence = 'warmup_steps=4 is not less than the 4 minibatches of the run: the learning rate never reaches 100'
    assert (sentence in capsys.readouterr().out) == noted


def test_full_disk_is_not_reported_as_full_memory(tmp_path, config, monkeypatch):
    error = tf.errors.ResourceExhaustedError(None, None, 'runs/a/x; No space left on device')
    monkeypatch.setattr(Trainer, 'train', lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(InputError, match=r'the disk is full: runs/a/x; No space left on device\. Make room'):
        run.run(config, tmp_path / 'run')


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


def test_closed_stdout_saves_the_run(config, tmp_path, monkeypatch):
    """As after `| head -1`: the line after the second epoch finds no reader."""

    def no_reader(self, line):
        raise BrokenPipeError

    monkeypatch.setattr(Monitor, 'say', no_reader)
    with pytest.raises(BrokenPipeError):
        run.run(config, tmp_path / 'run')
    assert tf.train.latest_checkpoint(str(tmp_path / 'run' / 'checkpoints')).endswith('ckpt-4')


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


def _losses_by_step(trainer: Trainer):
    """A held-out loss that depends on the step alone, and the steps at which it was asked for."""
    steps = []

    def loss(poll) -> float:
        poll()
        steps.append(trainer.step)
        return 3 + np.sin(trainer.step)

    return loss, steps


WITHIN_EPOCHS = {'num_epochs': 2, 'evaluate_every': '4', 'log_every': '5', 'sample_every': '7', 'sample_length': 2}


def test_everything_may_be_due_within_an_epoch(tmp_path, capsys):
    trainer = _trainer(**WITHIN_EPOCHS)
    last = 2 * trainer.windows.steps_per_epoch
    loss, evaluated = _losses_by_step(trainer)
    _train(tmp_path, trainer, loss)
    assert trainer.windows.steps_per_epoch == 14
    assert evaluated == [4, 8, 12, 16, 20, 24, 28]
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == [4, 5, 8, 10, 12, 15, 16, 20, 24, 25, 28]
    assert [line['step'] for line in lines if 'valid_loss' in line] == evaluated
    assert [line['epoch'] for line in lines] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    printed = capsys.readouterr().out
    assert printed.count(' - 分开') == last // 7
    assert 'step 7 of 1, in epoch 1: perplexity' in printed
    assert _best(tmp_path)['step'] == min(evaluated, key=lambda step: np.sin(step))


def test_points_are_the_means_since_the_point_before(tmp_path):
    """Against a run with a point at each step."""
    losses = {}
    for every in ('1', '5'):
        _train(tmp_path / every, _trainer(num_epochs=2, log_every=every), None)
        lines = map(json.loads, (tmp_path / every / 'metrics.jsonl').read_text().splitlines())
        losses[every] = {line['step']: line['loss'] for line in lines}
    assert list(losses['5']) == [5, 10, 15, 20, 25, 28]
    before = 0
    for step, loss in losses['5'].items():
        assert loss == pytest.approx(np.mean([losses['1'][s] for s in range(before + 1, step + 1)]), rel=1e-9)
        before = step


def _points(run_dir: pathlib.Path) -> list[dict]:
    lines = map(json.loads, (run_dir / 'metrics.jsonl').read_text().splitlines())
    return [{name: value for name, value in line.items() if name != 'seconds'} for line in lines]


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory) -> tuple[pathlib.Path, Trainer]:
    """A run with everything due within epochs, and its trainer at the end."""
    trainer, run_dir = _trainer(**WITHIN_EPOCHS), tmp_path_factory.mktemp('unbroken')
    _train(run_dir, trainer, _losses_by_step(trainer)[0])
    return run_dir, trainer


@pytest.mark.parametrize(('stopped_step', 'killed'), [(4, True), (12, False), (28, True), (28, False)])
def test_run_that_ends_inside_an_evaluation_within_an_epoch_equals_an_unbroken_one(
    tmp_path, unbroken, stopped_step, killed
):
    """Stopped by a signal, or killed: then it resumes from the checkpoint that was due before the evaluation."""
    broken = _trainer(**WITHIN_EPOCHS)

    def interrupted(poll) -> float:
        if broken.step == stopped_step:
            if killed:
                raise MemoryError
            signal.raise_signal(signal.SIGTERM)
        return _losses_by_step(broken)[0](poll)

    with pytest.raises(MemoryError) if killed else contextlib.nullcontext():
        _train(tmp_path, broken, interrupted, every=Interval(steps=1))
    assert tf.train.latest_checkpoint(str(tmp_path / 'checkpoints')).endswith(f'ckpt-{stopped_step}')
    resumed = _trainer(**WITHIN_EPOCHS)
    loss, evaluated = _losses_by_step(resumed)
    _train(tmp_path, resumed, loss)
    assert evaluated[0] == stopped_step
    assert resumed.is_done
    run_dir, trainer = unbroken
    assert _best(tmp_path) == _best(run_dir)
    for ours, theirs in zip(resumed.variables, trainer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)
    assert _points(tmp_path) == _points(run_dir)


def test_finished_run_has_nothing_left_although_its_last_step_was_saved_before_its_evaluation(tmp_path):
    trainer = _trainer(num_epochs=1)
    _train(tmp_path, trainer, lambda _: 4.0, every=Interval(steps=1))
    again = _trainer(num_epochs=1)
    Checkpoints(tmp_path, again, EVERY_30_SECONDS).restore()
    assert again.is_done
    assert again.early_stopping.best == 4.0


def test_long_epochs_have_a_point_each_thousand_steps(config, tmp_path):
    (tmp_path / 'long.txt').write_text(TEXT * 50, 'utf-8')
    small = {'corpus': 'long.txt', 'batch_size': 1, 'num_steps': 10, 'num_epochs': 1}
    run.run(config.replace(small), tmp_path / 'run')
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1000, 2000, 2339]
    assert run_directory.read(tmp_path / 'run').config.training.log_every == '1000'


def test_axis_of_the_curves_cannot_change(config, tmp_path):
    run.run(config, tmp_path / 'run')
    with pytest.raises(InputError, match=r"--log_every is '7', was '1ep'"):
        run.run(config.replace({'log_every': '7', 'num_epochs': 3}), tmp_path / 'run')
    run.run(config.replace({'log_every': '2ep', 'num_epochs': 3}), tmp_path / 'run')
