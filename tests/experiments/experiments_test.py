"""The experiments: valid commands in the plan, parsed logs, and a document that equals its logs."""

import copy
import math

import pytest
from absl import flags

from data.errors import InputError
from experiments import commands, logs, plan, report
from experiments.run import is_done, keep_log
from pipeline import train  # noqa: F401 - defines the flags
from pipeline.config import Config
from tests.conftest import ROOT

GROUPS = plan.groups()
RUNS = [run for runs in GROUPS.values() for run in runs]
LOG = """$ python -m pipeline.train --corpus=lyrics
lyrics: 12,340 characters, 1,260 distinct; 11 minibatches an epoch; 712,172 parameters on CPU; runs/a
epoch 5, perplexity inf, time 0.50 sec
this epoch was worse than guessing among all 1,260 characters: ...
epoch 10, perplexity 7.25, time 0.10 sec, valid 30.50
 - 分开 epoch 11, perplexity 1.00, time 0.10 sec
 - 不分开
epoch 15, perplexity 5.25, time 0.20 sec
saved in runs/a. Next: python -m export.saved_model --run_dir=runs/a
(whole program: 21.1 s)
"""
METRICS = """{"epoch": 5, "loss": 2327.0, "perplexity": null, "global_norm": 188.6, "seconds": 0.5}
{"epoch": 10, "loss": null, "perplexity": 7.25, "seconds": 0.1, "valid_perplexity": 30.5}
{"epoch": 15, "loss": 1.6582, "perplexity": 5.25, "seconds": 0.2}
"""


def _config(run: plan.Run) -> Config:
    values = copy.deepcopy(flags.FLAGS)
    values(['train', *run.flags])
    return Config.from_dict({name: values[name].value for name in Config().to_dict()})


@pytest.mark.parametrize('run', RUNS, ids=lambda run: run.name)
def test_run_has_valid_flags_and_prints_only_bundled_text(run, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = _config(run)
    assert config.data.corpus == 'lyrics' or config.training.sample_length == 0
    # The tables need these epochs.
    assert config.training.sample_every in ('1ep', '10ep')


def test_names_and_commands_are_unique():
    names = [run.name for run in RUNS]
    assert len(set(names)) == len(names)
    commands = [run.command for run in RUNS]
    assert len(set(commands)) == len(commands)


def test_log_is_parsed():
    log = logs.parse(LOG, METRICS)
    assert log.command == 'python -m pipeline.train --corpus=lyrics'
    assert log.vocabulary_size == 1260
    assert [epoch.number for epoch in log.epochs] == [5, 10, 15]
    assert [epoch.perplexity for epoch in log.epochs] == [math.inf, 7.25, 5.25]
    assert [epoch.valid for epoch in log.epochs] == [None, 30.5, None]
    assert [epoch.sample for epoch in log.epochs] == [None, '分开 epoch 11, perplexity 1.00, time 0.10 sec', None]
    assert log.seconds == 0.2
    assert [epoch.nats for epoch in log.epochs] == [2327.0, math.inf, 1.6582]
    assert [epoch.norm for epoch in log.epochs] == [188.6, None, None]
    assert math.isnan(log.perplexity(50))


def test_log_of_another_command_does_not_count(tmp_path):
    run = plan.Run('a', ('--corpus=lyrics',))
    assert not is_done(run, tmp_path)
    (tmp_path / 'a.log').write_text(LOG, 'utf-8')
    assert not is_done(run, tmp_path)  # without its metrics
    (tmp_path / 'a.jsonl').write_text(METRICS, 'utf-8')
    assert is_done(run, tmp_path)
    assert not is_done(plan.Run('a', ('--corpus=lyrics', '--seed=1')), tmp_path)


@pytest.mark.slow
def test_failed_run_writes_no_log(tmp_path):
    """A log of an earlier run stays."""
    run = plan.Run('a', ('--corpus=nowhere.txt',))
    with pytest.raises(InputError, match=r"a ended with exit code 1: error: corpus 'nowhere.txt' is not a file"):
        keep_log(run, tmp_path)
    assert not list(tmp_path.iterdir())


def test_table_of_seeds_has_mean_lowest_and_highest():
    runs = {
        f'random-seed{s}': logs.parse(LOG, METRICS.replace('"epoch": 10', '"epoch": 50').replace('7.25', f'{p}'))
        for s, p in enumerate((2.0, 3.0, 7.0))
    }
    assert report.seeds(runs).splitlines()[2:] == [
        '| random, the section (one run) | 69.88 | 9.01 | 2.70 | 1.53 | 1.31 |',
        '| random, ours (3 seeds) | 4.00 (2.00 to 7.00) |  |  |  |  |',
    ]


def test_table_of_samples_has_the_first_epoch_below_each_level():
    table = report.samples({'samples': logs.parse(LOG, METRICS)}).splitlines()[2:]
    assert [row.split(' | ')[:3] for row in table] == [['| 10', '10', '7.25']]


def test_only_the_text_between_table_markers_is_replaced():
    blocks = {name: f'<!-- table: {name} -->\nold\n<!-- end -->' for name in report.TABLES}
    document = 'prose 1.31\n\n' + '\n\nmore\n\n'.join(blocks.values()) + '\n\nend\n'
    found = {'samples': logs.parse(LOG, METRICS)}
    rendered = report.render(document, report.tables(found))
    expected = document
    for name, block in blocks.items():
        expected = expected.replace(block, block.replace('old', report.TABLES[name](found)))
    assert rendered == expected
    assert 'old' not in rendered
    assert report.render(rendered, report.tables(found)) == rendered


@pytest.mark.parametrize('change', [('table: seeds', 'table: sedes'), ('<!-- end -->', '')])
def test_missing_or_unknown_table_marker_is_an_error(change):
    document = '\n'.join(f'<!-- table: {name} -->\n<!-- end -->' for name in report.TABLES)
    with pytest.raises(InputError, match=r'has markers for .* needs one for each of'):
        report.render(document.replace(*change), report.tables({}))


def test_every_log_belongs_to_the_plan_and_the_document_equals_the_logs():
    planned = {run.name: run.command for run in RUNS}
    found = logs.read_all()
    assert found.keys() <= planned.keys()
    for name, log in found.items():
        assert log.command in (planned[name], commands.as_before(planned[name]))
    document = report.DOCUMENT.read_text('utf-8')
    assert report.render(document, report.tables(found)) == document, 'run: make experiments ARGS=--render_only'
