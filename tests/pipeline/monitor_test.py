"""What is shown of a run: the console as printed, TensorBoard as read back from its files."""

import dataclasses
import html
import json
import math
import re
import resource

import pytest
import tensorflow as tf
from tensorboard import plugin_util
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from pipeline.monitor import Monitor
from pipeline.trainer import Means, Progress

MEANS = Means(loss=2.0, global_norm=0.25, clipped_fraction=0.5)
PROGRESS = Progress(
    step=8, epoch=1, epoch_ended=True, may_be_due=True, epoch_means=MEANS, point_means=MEANS, learning_rate=3.0,
    num_characters=600, seconds=0.15,
)  # fmt: skip


def _progress(epoch: int, loss: float = 2.0) -> Progress:
    """At the end of an epoch of 8 minibatches."""
    means = MEANS._replace(loss=loss)
    return dataclasses.replace(PROGRESS, epoch=epoch, step=8 * epoch, epoch_means=means, point_means=means)


def _events(directory) -> EventAccumulator:
    events = EventAccumulator(str(directory))
    events.Reload()
    return events


def _scalars(directory, tag: str) -> list[tuple[int, float]]:
    return [(p.step, float(tf.make_ndarray(p.tensor_proto))) for p in _events(directory).Tensors(tag)]


def test_prints_the_lines_of_the_section(tmp_path, capsys):
    monitor = Monitor(tmp_path, 0, 8, 0, 8, terminal=False)
    monitor.after_call(PROGRESS)
    monitor.point(PROGRESS, line_is_due=True)
    monitor.samples(PROGRESS, ['分开了'])
    monitor.close()
    assert capsys.readouterr().out == 'epoch 1, perplexity 7.39, time 0.15 sec\n - 分开了\n'


def test_log_gets_a_line_at_least_every_minute(tmp_path, capsys):
    now = 0
    monitor = Monitor(tmp_path, 0, 8, 0, 8, terminal=False, clock=lambda: now)
    printed = []
    for now in (20, 59, 60, 100, 121):  # noqa: B007 - the clock reads it
        monitor.after_call(PROGRESS)
        monitor.point(PROGRESS, line_is_due=False)
        printed.append(bool(capsys.readouterr().out))
    assert printed == [False, False, True, False, True]


def test_log_gets_lines_within_a_long_epoch(tmp_path, capsys):
    now = 0
    monitor = Monitor(tmp_path, 0, 5000, 0, 8, terminal=False, clock=lambda: now)
    for step, now in ((32, 30), (64, 61), (96, 90)):  # noqa: B007 - the clock reads it
        monitor.after_call(dataclasses.replace(PROGRESS, step=step, epoch_ended=False))
    monitor.close()
    assert capsys.readouterr().out == 'step 64 of 5,000, in epoch 1: perplexity 7.39 so far\n'


def test_log_gets_lines_while_a_long_part_is_evaluated(tmp_path, capsys):
    now = 0
    monitor = Monitor(tmp_path, 0, 8, 0, 8, terminal=False, clock=lambda: now)
    for now in (30, 60, 100, 121):  # noqa: B007 - the clock reads it
        monitor.while_evaluating(3000)
    monitor.close()
    assert capsys.readouterr().out == 'after step 3,000: evaluating on the held-out part\n' * 2


def test_terminal_shows_a_bar_and_lines_above_it(tmp_path, capsys):
    monitor = Monitor(tmp_path, 4, 20, 0, 8, terminal=True)
    monitor.after_call(PROGRESS)
    bar = capsys.readouterr().out
    assert '4/16' in bar.replace('\x1b[1m', '')
    assert 'perplexity: 7.38' in bar
    monitor.say('a line')
    assert capsys.readouterr().out == '\r\033[Ka line\n'


@pytest.mark.parametrize(('columns', 'has_bar'), [('74', False), ('80', True)])
def test_narrow_terminal_shows_lines_without_a_bar(tmp_path, capsys, monkeypatch, columns, has_bar):
    monkeypatch.setenv('COLUMNS', columns)
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    monitor = Monitor(tmp_path, 0, 99_999, 0, 8)
    monitor.after_call(PROGRESS)
    bar = re.sub(r'\x1b\[\d*m|[\r\n]', '', capsys.readouterr().out)
    assert bool(bar) == has_bar
    assert len(bar) < int(columns)


def test_tensorboard_has_every_curve_at_its_epoch_and_the_samples(tmp_path):
    monitor = Monitor(tmp_path, 0, 16, 0, 8, terminal=False)
    for epoch in (1, 2):
        monitor.after_call(PROGRESS)
        monitor.after_call(PROGRESS)
        progress = _progress(epoch)
        monitor.point(progress, line_is_due=False)
    monitor.close()

    events = _events(tmp_path / 'train')
    expected = {
        'perplexity': 7.389056, 'loss': 2.0, 'gradients/global_norm': 0.25,
        'gradients/clipped_fraction': 0.5, 'learning_rate': 3.0, 'characters_per_second': 4000.0,
    }  # fmt: skip
    for tag, value in expected.items():
        points = events.Tensors(tag)
        assert [p.step for p in points] == [1, 2], tag
        for point in points:
            assert abs(tf.make_ndarray(point.tensor_proto) - value) < 1e-3 * value, tag


def test_metrics_file_has_the_points_of_the_curves(tmp_path):
    monitor = Monitor(tmp_path, 0, 16, 0, 8, has_valid=True, terminal=False)
    for epoch, valid in ((1, 1.5), (2, None), (3, float('inf'))):
        monitor.after_call(PROGRESS)
        monitor.point(_progress(epoch), False, valid_nats=valid)
    monitor.flush()
    of_training = {
        'loss': 2.0, 'perplexity': math.exp(2), 'global_norm': 0.25, 'clipped_fraction': 0.5, 'learning_rate': 3.0,
        'seconds': 0.15,
    }  # fmt: skip
    found = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    monitor.close()
    assert found == [
        {'epoch': 1, 'step': 8, 'valid_loss': 1.5, 'valid_perplexity': math.exp(1.5)} | of_training,
        {'epoch': 2, 'step': 16} | of_training,
        {'epoch': 3, 'step': 24, 'valid_loss': None, 'valid_perplexity': None} | of_training,
    ]


@pytest.mark.parametrize('nats', [89.0, 1000.0, float('inf')])
def test_perplexity_too_large_for_a_float32_is_infinite_in_the_curves(tmp_path, nats):
    monitor = Monitor(tmp_path, 0, 8, 0, 8, has_valid=True, terminal=False)
    monitor.after_call(PROGRESS)
    monitor.point(_progress(1, nats), line_is_due=True, valid_nats=nats)
    monitor.close()
    for part in ('train', 'valid'):
        values = [value for tag in ('loss', 'perplexity') for _, value in _scalars(tmp_path / part, tag)]
        assert values == pytest.approx([nats, math.exp(nats) if nats < 89 else math.inf], rel=1e-4)


def test_tensorboard_has_the_settings_of_a_new_run(tmp_path):
    settings = {'hidden_size': 64, 'cell': 'gru', 'prefixes': ('a', 'b')}
    Monitor(tmp_path, 0, 8, 0, 8, settings=settings, terminal=False).close()
    Monitor(tmp_path, 4, 8, 0, 8, settings={'hidden_size': 65}, terminal=False).close()  # resumes: not written again
    content = _events(tmp_path).SummaryMetadata('_hparams_/session_start_info').plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert found['hidden_size'].number_value == 64
    assert found['cell'].string_value == 'gru'
    assert found['prefixes'].string_value == 'a,b'


def test_epochs_that_a_resumed_run_repeats_are_shown_once(tmp_path):
    """Epochs 1 to 5 were written before a kill; the checkpoint is of epoch 3, from which the run resumes."""
    for first, last in ((1, 5), (4, 6)):
        monitor = Monitor(tmp_path, 0, 16, 8 * (first - 1), 8, has_valid=True, terminal=False)
        for epoch in range(first, last + 1):
            monitor.after_call(PROGRESS)
            progress = _progress(epoch, float(first))
            monitor.point(progress, False, valid_nats=float(first))
        monitor.close()
        # File names contain the second, and readers sort by name: in practice a run resumes in a later second.
        with (tmp_path / 'metrics.jsonl').open('a') as file:
            file.write('{"epoch": 6, "st')  # a line that the kill cut short
        for part in ('train', 'valid'):
            (written,) = (path for path in (tmp_path / part).iterdir() if path.suffix != '.ordered')
            written.rename(tmp_path / part / f'events.out.tfevents.{first}.ordered')
    for part in ('train', 'valid'):
        assert _scalars(tmp_path / part, 'loss') == [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 4)]
    *lines, _ = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    points = [(line['epoch'], line['loss'], line['valid_loss']) for line in map(json.loads, lines)]
    assert points == [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 4, 4), (5, 4, 4), (6, 4, 4)]


def test_train_and_valid_have_the_same_tags_in_two_runs(tmp_path, capsys):
    """TensorBoard draws the same tag of several runs in one chart."""
    monitor = Monitor(tmp_path, 0, 16, 0, 8, has_valid=True, terminal=False)
    for epoch, nats in ((1, None), (2, 1.5), (3, 1.0)):
        monitor.after_call(PROGRESS)
        monitor.point(_progress(epoch), line_is_due=True, valid_nats=nats)
        monitor.epoch_ended()
    monitor.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'epoch 1, perplexity 7.39, time 0.15 sec'
    assert lines[1] == 'epoch 2, perplexity 7.39, time 0.15 sec, valid 4.48'
    assert _scalars(tmp_path / 'valid', 'perplexity') == [(2, pytest.approx(4.481689)), (3, pytest.approx(2.718282))]
    assert [epoch for epoch, _ in _scalars(tmp_path / 'train', 'perplexity')] == [1, 2, 3]
    assert set(_events(tmp_path / 'valid').Tags()['tensors']) == {'perplexity', 'loss'}


def test_run_without_a_held_out_part_has_no_valid_curves(tmp_path):
    monitor = Monitor(tmp_path, 0, 8, 0, 8, terminal=False)
    monitor.after_call(PROGRESS)
    monitor.point(PROGRESS, line_is_due=False)
    monitor.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['metrics.jsonl', 'train']


def test_tensorboard_shows_samples_as_the_console_does(tmp_path):
    """TensorBoard converts each sample from Markdown; HTML, emphasis, spaces, line breaks and fences are text here."""
    texts = ['分开 <b>不</b> *分* & |', '  two\n\n lines ', '```\nfence ````']
    monitor = Monitor(tmp_path, 0, 16, 0, 8, terminal=False)
    monitor.samples(PROGRESS, texts)
    monitor.close()
    (samples,) = _events(tmp_path / 'train').Tensors('samples')
    shown = [plugin_util.markdown_to_safe_html(text) for text in tf.make_ndarray(samples.tensor_proto)]
    assert shown == [f'<pre><code>{html.escape(text, quote=False)}\n</code></pre>' for text in texts]


@pytest.mark.parametrize('full_from_the_start', [True, False])
def test_full_disk_ends_the_curves_and_not_the_run(tmp_path, capsys, full_from_the_start):
    """A limit on the size of files simulates a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not full_from_the_start:
        monitor = Monitor(tmp_path, 0, 16, 0, 8, has_valid=True, terminal=False)
        monitor.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        if full_from_the_start:
            monitor = Monitor(tmp_path, 0, 16, 0, 8, has_valid=True, settings={'seed': 1}, terminal=False)
        for epoch in (1, 2):
            monitor.after_call(PROGRESS)
            monitor.point(_progress(epoch), line_is_due=True, valid_nats=1.0)
            monitor.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monitor.samples(PROGRESS, ['分开'])
    monitor.close()
    printed = capsys.readouterr().out
    assert printed.count('the curves cannot be written and end here:') == 1
    assert printed.count('epoch 2, perplexity') == 1
