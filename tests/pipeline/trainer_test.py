"""The compiled loop against the section's equations, and what must not change its numbers."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from data.ids import Ids
from data.vocabulary import Vocabulary
from data.windows import Windows, stacked
from pipeline import devices
from pipeline import trainer as trainer_module
from pipeline.checkpoints import Checkpoints
from pipeline.config import ModelConfig, TrainingConfig
from pipeline.intervals import Interval
from pipeline.model import CharRNN
from pipeline.run import nothing_left
from pipeline.trainer import DivergenceError, Progress, Trainer
from pipeline.updates import CompiledUpdates
from tests import oracle
from tests.conftest import TEXT

pytestmark = pytest.mark.slow

B, T, H = 4, 6, 12
IDS = Ids.of(Vocabulary.from_text(TEXT).encode(TEXT))


def _trainer(sampling: str = 'random', *, model: dict | None = None, num_epochs: int = 1, **config) -> Trainer:
    """Without XLA unless `jit=True`: compiling takes longer than these runs."""
    windows = Windows(len(TEXT), B, T, sampling, seed=1, context=config.get('bptt_windows', 1) - 1)
    model = CharRNN(ModelConfig(**{'hidden_size': H, 'init_scale': 0.1} | (model or {})), len(set(TEXT)), seed=1)
    return Trainer(model, windows, TrainingConfig(**{'jit': False, 'num_epochs': num_epochs} | config))


def _minibatches(windows: Windows, first_step: int, last_step: int) -> list[tuple[np.ndarray, np.ndarray]]:
    steps = tf.range(first_step, last_step, dtype=tf.int64)
    return [tuple(part.numpy() for part in windows.minibatches(IDS, step)) for step in steps]


def _weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {v.name.split(':')[0]: v.numpy() for v in trainer.model.trainable_variables}


def _run(trainer: Trainer) -> list[Progress]:
    return list(trainer.train(IDS))


def _without_time(progress: list[Progress]) -> list[Progress]:
    return [dataclasses.replace(p, seconds=0) for p in progress]


def _assert_same_bits(first: Trainer, second: Trainer) -> None:
    for name, value in _weights(first).items():
        np.testing.assert_array_equal(value, _weights(second)[name], err_msg=name)
    for ours, theirs in zip(first.evaluated_model.variables, second.evaluated_model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=f'evaluated {ours.name}')


@pytest.mark.parametrize(('sampling', 'jit'), [('random', True), ('consecutive', False)])
@pytest.mark.parametrize('clip_norm', [0.01, 0.2])  # one that always clips, one in the midst of the norms
def test_updates_equal_the_equations(sampling, jit, clip_norm, monkeypatch):
    """Three updates from the same weights; the state starts at zero or is carried, as the sampling has it."""
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 3)
    trainer = _trainer(sampling, clip_norm=clip_norm, learning_rate=20.0, jit=jit)
    truth = {name: value.astype(float) for name, value in _weights(trainer).items()}
    progress = next(iter(trainer.train(IDS)))

    losses, norms, state = [], [], (np.zeros([B, H]),)
    for inputs, targets in _minibatches(trainer.windows, 0, 3):
        before = state if sampling == 'consecutive' else (np.zeros([B, H]),)
        loss, gradients, state = oracle.loss_and_gradients(truth, inputs, targets, before)
        truth = oracle.clipped_sgd(truth, gradients, 20.0, clip_norm)
        losses.append(loss)
        norms.append(oracle.global_norm(gradients))

    assert progress.step == trainer.step == 3
    assert progress.epoch_means.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert progress.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-5)
    assert progress.epoch_means.global_norm == pytest.approx(np.mean(norms), rel=1e-5)
    assert progress.epoch_means.clipped_fraction == pytest.approx(np.mean(np.array(norms) > clip_norm))
    for name, value in _weights(trainer).items():
        assert np.linalg.norm(value - truth[name]) <= 1e-5 * np.linalg.norm(truth[name]), name
    np.testing.assert_allclose(trainer.state[0], state[0], rtol=1e-4, atol=1e-6)


def test_learning_rate_falls_over_all_minibatches_of_the_run(monkeypatch):
    """A warm-up, then half a cosine to 0: the rates that are told, and those of the updates."""
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 5)
    first, rising = 2.0, 7
    trainer = _trainer(num_epochs=2, learning_rate=first, schedule='cosine', warmup_steps=rising)
    num_updates = 2 * trainer.windows.steps_per_epoch
    numbers = np.arange(num_updates)
    cosine = (1 + np.cos(np.pi * (numbers - rising) / (num_updates - rising))) / 2
    rates = first * np.where(numbers < rising, (numbers + 1) / rising, cosine)
    truth, zero = {name: value.astype(float) for name, value in _weights(trainer).items()}, (np.zeros([B, H]),)
    progress = _run(trainer)
    batches = _minibatches(trainer.windows, 0, num_updates)
    for rate, (inputs, targets) in zip(rates, batches, strict=True):
        _, gradients, _ = oracle.loss_and_gradients(truth, inputs, targets, zero)
        truth = oracle.clipped_sgd(truth, gradients, rate, trainer.config.clip_norm)

    assert [p.learning_rate for p in progress] == pytest.approx([rates[p.step - 1] for p in progress], rel=1e-4)
    for name, value in _weights(trainer).items():
        assert np.linalg.norm(value - truth[name]) <= 1e-5 * np.linalg.norm(truth[name]), name


@pytest.mark.parametrize('num_windows', [2, 3])
@pytest.mark.parametrize('cell', ['rnn', 'lstm'])
def test_gradients_flow_back_through_bptt_windows(num_windows, cell):
    """Against autodiff over single steps: each loss from the state before its oldest window, by the weights of now.

    Over two epochs: a window is never carried on into the next epoch.
    """
    ids, per_epoch = IDS[: B * (4 * T + 1)], 4
    windows = Windows(len(ids), B, T, 'consecutive', context=num_windows - 1)
    config = ModelConfig(hidden_size=H, init_scale=0.3, cell=cell)
    trainer = Trainer(CharRNN(config, len(set(TEXT)), seed=1), windows, TrainingConfig(num_epochs=2, learning_rate=5.0))
    model = CharRNN(config, len(set(TEXT)), seed=1)
    epochs = list(trainer.train(Ids.of(ids)))

    rows = ids.reshape(B, -1)
    losses = []
    for step in range(2 * per_epoch):
        place = step % per_epoch
        oldest = max(place - num_windows + 1, 0)
        if not place:
            oldest_state = model.zero_state(B)
        with tf.GradientTape() as tape:
            state, loss = oldest_state, 0.0
            for t in range(oldest * T, (place + 1) * T):
                logits, state = model.step(tf.constant(rows[:, t]), state)
                if t == oldest * T + T - 1:
                    after_oldest = state
                if t >= place * T:
                    loss += tf.reduce_mean(
                        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=rows[:, t + 1], logits=logits)
                    )
            loss /= T
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_variables)]
        for variable, gradient in zip(
            model.trainable_variables, tf.clip_by_global_norm(gradients, 0.01)[0], strict=True
        ):
            variable.assign_sub(5.0 * gradient)
        losses.append(float(loss))
        if place >= num_windows - 1:
            oldest_state = after_oldest

    of_epochs = np.mean(np.reshape(losses, [2, per_epoch]), axis=1).tolist()
    assert [progress.epoch_means.loss for progress in epochs] == pytest.approx(of_epochs, rel=1e-5)
    for variable, truth in zip(trainer.model.trainable_variables, model.trainable_variables, strict=True):
        assert tf.norm(variable - truth) <= 1e-4 * tf.norm(truth), variable.name


def test_update_without_clipping_is_the_gradient():
    clipped_far_above, unclipped = _trainer(clip_norm=1e6, learning_rate=1.0), _trainer(clip_norm=0, learning_rate=1.0)
    _run(clipped_far_above)
    assert all(p.epoch_means.clipped_fraction == 0 for p in _run(unclipped))
    for name, value in _weights(unclipped).items():
        np.testing.assert_allclose(value, _weights(clipped_far_above)[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_xla_and_eager_training_agree():
    compiled, plain = _trainer(jit=True), _trainer(jit=False)
    (with_xla,), (without,) = _run(compiled), _run(plain)
    assert with_xla.epoch_means.loss == pytest.approx(without.epoch_means.loss, rel=1e-5)
    for name, value in _weights(compiled).items():
        np.testing.assert_allclose(value, _weights(plain)[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(('sampling', 'jit'), [('random', False), ('consecutive', True)])
def test_division_of_an_epoch_into_calls_changes_no_bit(sampling, jit):
    """The same compiled call makes as many of its S updates as `count` says."""
    size = _trainer(sampling).windows.steps_per_epoch
    ends = []
    for cuts in ([size], [5, 6, size], [1, 2, 3, size - 1, size]):
        trainer = _trainer(sampling, jit=jit)
        for last in cuts:
            call = next(iter(stacked(trainer.windows, IDS, trainer.step, last, stack_size=size)))
            progress = trainer._train_call(*call, start=0.0)
        assert progress.epoch_ended
        ends.append((trainer, progress.epoch_means.loss, progress.epoch_means.global_norm))
    for trainer, *means in ends[1:]:
        _assert_same_bits(trainer, ends[0][0])
        assert means == list(ends[0][1:])


@pytest.mark.parametrize(
    ('sampling', 'model', 'config'),
    [
        ('random', {}, {}),
        ('consecutive', {}, {'jit': True}),
        ('random', {'cell': 'gru', 'num_layers': 2, 'dropout': 0.3}, {}),
        ('consecutive', {'cell': 'gru', 'num_layers': 2, 'dropout': 0.3}, {'bptt_windows': 3}),
        ('consecutive', {'cell': 'lstm', 'forget_bias': 1.0}, {}),
        (
            'consecutive',
            {'cell': 'gru', 'embedding_size': H, 'tie_embeddings': True, 'input_dropout': 0.5},
            {'state_reset_rate': 0.3, 'average_from_epoch': 2},
        ),
    ],
)
def test_run_stopped_within_an_epoch_resumes_exactly(sampling, model, config, monkeypatch, tmp_path):
    """What a checkpoint holds is all there is: weights, step, state and the sums of the epoch so far."""
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 3)
    unbroken = _trainer(sampling, model=model, num_epochs=3, **config)
    expected = _run(unbroken)

    stopped = _trainer(sampling, model=model, num_epochs=3, **config)
    seen = []
    for progress in stopped.train(IDS):
        seen.append(progress)
        if not progress.epoch_ended and progress.epoch == 2:
            break
    Checkpoints(tmp_path, stopped, Interval(steps=1)).save(stopped.step)
    resumed = _trainer(sampling, model=model, num_epochs=3, **config)
    assert Checkpoints(tmp_path, resumed, Interval(steps=1)).restore()
    seen += _run(resumed)

    assert _without_time(seen) == _without_time(expected)
    _assert_same_bits(resumed, unbroken)


@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_dropout_differs_by_step_and_seed(dropout):
    """With a rate of 0 and the windows in one order, only dropout can tell one epoch, or one seed, from the next."""
    model = {'num_layers': 2, 'init_scale': 0.5, 'dropout': dropout}
    epochs = _run(_trainer('consecutive', model=model, num_epochs=3, learning_rate=0.0))
    assert len({p.epoch_means.loss for p in epochs if p.epoch_ended}) == (3 if dropout else 1)
    (other_seed,) = _run(_trainer('consecutive', model=model, learning_rate=0.0, seed=1))
    assert (other_seed.epoch_means.loss != epochs[0].epoch_means.loss) == bool(dropout)


class _StepsAsSeconds:
    """A clock on which each step takes a second: `before_call` sets it to the end of the call."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def before_call(self, first: int, last: int) -> None:
        self.now += last - first


def _timed(clock: _StepsAsSeconds, num_epochs: int = 3) -> Trainer:
    windows = Windows(len(TEXT), B, T)
    config = TrainingConfig(
        jit=False, num_epochs=num_epochs, max_seconds=windows.steps_per_epoch + 3, schedule='cosine', learning_rate=2.0
    )
    return Trainer(CharRNN(ModelConfig(hidden_size=H), len(set(TEXT))), windows, config, clock)


def test_time_limit_ends_a_run_within_an_epoch_and_the_rate_falls_to_that_end(monkeypatch):
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 1)
    trainer = _timed(clock := _StepsAsSeconds())
    assert not trainer.is_done
    progress = list(trainer.train(IDS, clock.before_call))
    end = trainer.windows.steps_per_epoch + 3
    assert [p.step for p in progress] == list(range(1, end + 1))
    assert [p.epoch for p in progress if p.epoch_ended] == [1, 2]
    rates = [1 + np.cos(np.pi * step / end) for step in range(1, end)]  # of the first step, nothing is known yet
    np.testing.assert_allclose([p.learning_rate for p in progress[1:]], rates, rtol=1e-4, atol=1e-6)
    trainer.reported_step.assign(trainer.windows.steps_per_epoch)
    assert not trainer.is_done
    (unreported,) = trainer.train(IDS)
    assert unreported.epoch_means == progress[-1].epoch_means
    trainer.reported_step.assign(end)
    assert trainer.is_done
    assert trainer.num_epochs_done == 2


def test_run_whose_time_ended_in_its_last_epoch_cannot_have_more_epochs(monkeypatch):
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 1)
    trainer = _timed(clock := _StepsAsSeconds(), num_epochs=2)
    for progress in trainer.train(IDS, clock.before_call):
        trainer.reported_step.assign(progress.step)
    assert trainer.num_epochs_done == 2
    assert nothing_left(trainer).startswith(f'nothing left to train: max_seconds={trainer.config.max_seconds} are over')


def test_run_with_a_time_limit_counts_the_time_before_it_was_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 1)
    unbroken = _timed(clock := _StepsAsSeconds())
    list(unbroken.train(IDS, clock.before_call))
    stopped = _timed(clock := _StepsAsSeconds())
    calls = stopped.train(IDS, clock.before_call)
    for _ in range(4):
        next(calls)
    Checkpoints(tmp_path, stopped, Interval(steps=1)).save(4)
    clock.now = 1000.0  # the clock of another process
    resumed = _timed(clock)
    Checkpoints(tmp_path, resumed, Interval(steps=1)).restore()
    list(resumed.train(IDS, clock.before_call))
    assert resumed.step == unbroken.step
    _assert_same_bits(unbroken, resumed)


def test_averaged_weights_are_the_mean_since_their_epoch(monkeypatch):
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 1)
    trainer = _trainer(num_epochs=3, average_from_epoch=2)
    seen = []
    for progress in trainer.train(IDS):
        if progress.epoch == 1:
            for mean, weight in zip(trainer.averaged.variables, trainer.model.variables, strict=True):
                np.testing.assert_allclose(mean, weight, rtol=1e-5, atol=1e-7)
        else:
            seen.append(_weights(trainer))
    assert len(seen) == 2 * trainer.windows.steps_per_epoch
    for variable in trainer.evaluated_model.trainable_variables:
        name = variable.name.split(':')[0]
        np.testing.assert_allclose(variable, np.mean([w[name] for w in seen], axis=0), rtol=1e-4, atol=1e-6)
    assert trainer.evaluated_model is not trainer.model


_ALL = {'bptt_windows': 2, 'state_reset_rate': 0.3, 'average_from_epoch': 1, 'optimizer': 'adam', 'learning_rate': 0.01}


@pytest.mark.parametrize(
    ('num_groups', 'sampling', 'model', 'settings'),
    [
        (1, 'random', {'cell': 'gru'}, {'learning_rate': 20.0, 'jit': True}),
        (2, 'random', {}, {'learning_rate': 20.0, 'jit': True}),
        (2, 'consecutive', {'cell': 'lstm', 'num_layers': 2, 'dropout': 0.5}, _ALL),
    ],
    ids=['one', 'two, random', 'two, consecutive'],
)
def test_groups_of_rows_train_as_one_compiled_call(num_groups, sampling, model, settings):
    together, grouped = (_trainer(sampling, model=model, num_epochs=2, **settings) for _ in range(2))
    grouped._train = train = CompiledUpdates(grouped.updates, num_groups)
    alone = mock.patch.object(train, '_alone', wraps=train._alone)
    with alone as ran_alone:
        means = _run(grouped)[-1].epoch_means
    assert means == pytest.approx(_run(together)[-1].epoch_means, rel=1e-5)
    assert ran_alone.call_count == num_groups - 1
    assert train._loss_and_gradients.experimental_get_tracing_count() == 1  # also for the run alone
    for ours, theirs in zip(grouped.variables, together.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=ours.name)


@pytest.mark.parametrize(('jit', 'expected'), [(True, 2), (False, 1)])
def test_compiled_updates_have_the_groups_of_the_device(jit, expected, monkeypatch):
    monkeypatch.setattr(devices, 'num_row_groups', lambda *sizes: {(B, H): 2}[sizes])
    assert _trainer(jit=jit)._train._num_groups == expected


@pytest.mark.parametrize('expected', [False, True])
def test_whole_calls_are_compiled_as_the_device_says(expected, monkeypatch):
    monkeypatch.setattr(devices, 'compiles_whole_calls', lambda *sizes: {(B, H): expected}[sizes])
    assert _trainer(jit=True)._train._call.function_spec.jit_compile == expected
    assert not _trainer(jit=False)._train._call.function_spec.jit_compile


def test_averaging_does_not_change_training():
    averaged, plain = _trainer(average_from_epoch=1), _trainer()
    assert _without_time(_run(averaged)) == _without_time(_run(plain))
    assert plain.evaluated_model is plain.model


def test_compiles_once_for_any_division_of_an_epoch(monkeypatch):
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 5)
    trainer = _trainer(num_epochs=2)
    assert trainer.windows.steps_per_epoch % 5, 'the last call of an epoch must be a shorter one'
    _run(trainer)
    assert trainer._train._call.experimental_get_tracing_count() == 1


def test_reports_the_end_of_each_epoch():
    trainer = _trainer(num_epochs=3)
    progress = _run(trainer)
    per_epoch = trainer.windows.steps_per_epoch
    assert [p.epoch for p in progress if p.epoch_ended] == [1, 2, 3]
    assert [p.step for p in progress if p.epoch_ended] == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    assert sum(p.num_characters for p in progress) == 3 * per_epoch * B * T
    assert {p.learning_rate for p in progress} == {100.0}


def test_point_has_the_means_since_the_point_before(monkeypatch):
    monkeypatch.setattr(trainer_module, 'MINIBATCHES_PER_CALL', 3)
    trainer = _trainer(clip_norm=0.2, learning_rate=20.0)
    calls = trainer.train(IDS)
    first = next(calls)
    trainer.start_point()
    second, third = next(calls), next(calls)
    assert third.step == 9 < trainer.windows.steps_per_epoch
    sums = [progress.step * np.array(progress.epoch_means) for progress in (first, second, third)]
    assert first.point_means == first.epoch_means
    np.testing.assert_allclose(second.point_means, (sums[1] - sums[0]) / 3, rtol=1e-6)
    np.testing.assert_allclose(third.point_means, (sums[2] - sums[0]) / 6, rtol=1e-6)


def test_training_lowers_the_perplexity():
    trainer = _trainer(num_epochs=40, clip_norm=0.05, learning_rate=20.0)
    progress = _run(trainer)
    assert progress[0].perplexity > 10 > 2 > progress[-1].perplexity


def test_divergence_stops_before_the_bad_update():
    trainer = _trainer(clip_norm=0, learning_rate=3e38, num_epochs=5)
    message = r'diverged at step \d+ \(epoch 1\).*clip_norm=.* or a --learning_rate below'
    with pytest.raises(DivergenceError, match=message) as error:
        _run(trainer)
    step = int(str(error.value).split('step ')[1].split()[0])
    assert trainer.step == step - 1
    assert all(np.all(np.isfinite(value)) for value in _weights(trainer).values())


def test_divergence_before_an_update_is_of_the_initial_weights():
    trainer = _trainer(model={'activation': 'relu', 'init_scale': 1e10})
    with pytest.raises(DivergenceError, match=r'diverged at step 1 .* What to try: an --init_scale below 1e\+10\.'):
        _run(trainer)


@pytest.mark.parametrize(
    ('model', 'windows', 'expected'),
    [
        (ModelConfig(hidden_size=8), Windows(1000, 2, 5), 32),
        (ModelConfig(cell='lstm', hidden_size=512, num_layers=2), Windows(100_000, 64, 64), 3),
        (ModelConfig(cell='lstm', hidden_size=512, num_layers=2), Windows(100_000, 64, 1000), 1),
    ],
)
def test_call_of_a_large_model_trains_few_minibatches(model, windows, expected):
    """A stop request is heeded between calls."""
    trainer = Trainer(CharRNN(model, 65), windows, TrainingConfig())
    assert trainer._minibatches_per_call == expected
