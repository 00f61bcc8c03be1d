"""What is shown of a run: the console as printed, TensorBoard as read back from its files."""

import math
import re

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from pipeline.monitor import Monitor
from pipeline.trainer import Progress

PROGRESS = Progress(
    step=8, epoch=1, epoch_ended=True, loss=2.0, global_norm=0.25, clipped_fraction=0.5, learning_rate=3.0,
    num_characters=600, seconds=0.15,
)  # fmt: skip


def test_prints_the_sections_lines(tmp_path, capsys):
    monitor = Monitor(tmp_path, 0, 8, 0, terminal=False)
    monitor.after_call(PROGRESS)
    monitor.after_epoch(PROGRESS, line_is_due=True)
    monitor.samples(1, ['分开了'])
    monitor.close()
    assert capsys.readouterr().out == 'epoch 1, perplexity 7.39, time 0.15 sec\n - 分开了\n'


def test_a_log_hears_of_a_long_run_each_minute(tmp_path, capsys):
    now = 0
    monitor = Monitor(tmp_path, 0, 8, 0, terminal=False, clock=lambda: now)
    printed = []
    for now in (20, 59, 60, 100, 121):  # noqa: B007 - the clock reads it
        monitor.after_call(PROGRESS)
        monitor.after_epoch(PROGRESS, line_is_due=False)
        printed.append(bool(capsys.readouterr().out))
    assert printed == [False, False, True, False, True]


def test_a_terminal_has_a_bar_and_lines_above_it(tmp_path, capsys):
    monitor = Monitor(tmp_path, 4, 20, 0, terminal=True)
    monitor.after_call(PROGRESS)
    bar = capsys.readouterr().out
    assert '4/16' in bar.replace('\x1b[1m', '')
    assert 'perplexity: 7.38' in bar
    monitor.say('a line')
    assert capsys.readouterr().out == '\r\033[Ka line\n'


@pytest.mark.parametrize(('columns', 'has_bar'), [('74', False), ('80', True)])
def test_a_terminal_too_narrow_for_the_bar_has_the_lines_alone(tmp_path, capsys, monkeypatch, columns, has_bar):
    monkeypatch.setenv('COLUMNS', columns)
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    monitor = Monitor(tmp_path, 0, 99_999, 0)
    monitor.after_call(PROGRESS)
    bar = re.sub(r'\x1b\[\d*m|[\r\n]', '', capsys.readouterr().out)
    assert bool(bar) == has_bar
    assert len(bar) < int(columns)


def test_tensorboard_has_every_curve_at_its_epoch_and_the_samples(tmp_path):
    monitor = Monitor(tmp_path, 0, 16, 0, terminal=False)
    for epoch in (1, 2):
        monitor.after_call(PROGRESS)
        monitor.after_call(PROGRESS)
        progress = Progress(**{**vars(PROGRESS), 'epoch': epoch})
        monitor.after_epoch(progress, line_is_due=False)
    monitor.samples(2, ['分开了', '山'])
    monitor.close()

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    expected = {
        'perplexity/train': 7.389056, 'loss/train': 2.0, 'gradients/global_norm': 0.25,
        'gradients/clipped_fraction': 0.5, 'learning_rate': 3.0, 'characters_per_second': 4000.0,
    }  # fmt: skip
    for tag, value in expected.items():
        points = events.Tensors(tag)
        assert [p.step for p in points] == [1, 2], tag
        for point in points:
            assert abs(tf.make_ndarray(point.tensor_proto) - value) < 1e-3 * value, tag
    (samples,) = events.Tensors('samples')
    assert [text.decode() for text in tf.make_ndarray(samples.tensor_proto)] == ['分开了', '山']


@pytest.mark.parametrize('nats', [88.69, 300.0, 5000.0])
def test_a_loss_whose_exp_is_no_float32_stands_in_every_curve(tmp_path, nats):
    monitor = Monitor(tmp_path, 0, 8, 0, terminal=False)
    monitor.after_call(PROGRESS)
    monitor.after_epoch(Progress(**{**vars(PROGRESS), 'loss': nats}), line_is_due=True, valid_nats=nats)
    monitor.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    for kind in ('train', 'valid'):
        values = [
            float(tf.make_ndarray(events.Tensors(f'{tag}/{kind}')[0].tensor_proto)) for tag in ('loss', 'perplexity')
        ]
        assert values == pytest.approx([nats, math.exp(nats) if nats < 89 else math.inf], rel=1e-4)


def test_tensorboard_has_the_settings_of_a_new_run(tmp_path):
    Monitor(
        tmp_path, 0, 8, 0, settings={'hidden_size': 64, 'cell': 'gru', 'prefixes': ('a', 'b')}, terminal=False
    ).close()
    Monitor(tmp_path, 4, 8, 0, settings={'hidden_size': 65}, terminal=False).close()  # goes on: not said again
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    content = events.SummaryMetadata('_hparams_/session_start_info').plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert found['hidden_size'].number_value == 64
    assert found['cell'].string_value == 'gru'
    assert found['prefixes'].string_value == 'a,b'


def test_epochs_that_come_again_after_a_kill_are_shown_once(tmp_path):
    """Epochs 1 to 5 were written, a checkpoint stands at epoch 3: the run goes on from there."""
    for first, last in ((1, 5), (4, 6)):
        monitor = Monitor(tmp_path, 0, 16, first - 1, terminal=False)
        for epoch in range(first, last + 1):
            monitor.after_call(PROGRESS)
            monitor.after_epoch(Progress(**{**vars(PROGRESS), 'epoch': epoch, 'loss': float(first)}), False)
        monitor.close()
        # Named by the second, and read by their names: a run that goes on is never within the same one.
        (written,) = (path for path in tmp_path.iterdir() if path.suffix != '.ordered')
        written.rename(tmp_path / f'events.out.tfevents.{first}.ordered')
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    points = events.Tensors('loss/train')
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    assert [float(tf.make_ndarray(point.tensor_proto)) for point in points] == [1, 1, 1, 4, 4, 4]


def test_train_and_valid_are_one_chart(tmp_path, capsys):
    """TensorBoard's Custom Scalars has a chart for all tags that a pattern of its layout matches."""
    monitor = Monitor(tmp_path, 0, 16, 0, terminal=False)
    for epoch, nats in ((1, None), (2, 1.5), (3, 1.0)):
        monitor.after_call(PROGRESS)
        monitor.after_epoch(Progress(**{**vars(PROGRESS), 'epoch': epoch}), line_is_due=True, valid_nats=nats)
    monitor.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'epoch 1, perplexity 7.39, time 0.15 sec'
    assert lines[1] == 'epoch 2, perplexity 7.39, time 0.15 sec, valid 4.48'

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    points = [(p.step, float(tf.make_ndarray(p.tensor_proto))) for p in events.Tensors('perplexity/valid')]
    assert points == [(2, pytest.approx(4.481689)), (3, pytest.approx(2.718282))]
    (layout,) = events.Tensors('custom_scalars__config__')
    charts = layout_pb2.Layout.FromString(tf.make_ndarray(layout.tensor_proto).item()).category[0].chart
    (pattern,) = charts[0].multiline.tag
    assert {tag for tag in events.Tags()['tensors'] if re.fullmatch(pattern, tag)} == {
        'perplexity/train',
        'perplexity/valid',
    }


def test_a_run_without_held_out_text_has_no_valid_curve(tmp_path):
    monitor = Monitor(tmp_path, 0, 8, 0, terminal=False)
    monitor.after_call(PROGRESS)
    monitor.after_epoch(PROGRESS, line_is_due=False)
    monitor.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert not [tag for tag in events.Tags()['tensors'] if 'valid' in tag or 'custom' in tag]
