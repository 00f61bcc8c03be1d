"""The search for settings: every combination once, ranked by its log."""

import pytest

from data.errors import InputError
from experiments.search import combinations, table
from tests import programs

METRICS = """{{"epoch": 1, "loss": 4.5, "perplexity": 90.0, "seconds": 0.5, "valid_perplexity": {first}}}
{{"epoch": 2, "loss": 4.2, "perplexity": 70.0, "seconds": 0.25, "valid_perplexity": {last}}}
"""


def _keep(folder, run, metrics):
    (folder / f'{run.name}.log').write_text(f'$ {run.command}\n', 'utf-8')
    (folder / f'{run.name}.jsonl').write_text(metrics, 'utf-8')


def test_every_combination_is_run_with_the_shared_flags():
    runs = combinations('--cell=gru --prefixes="a b"', ['dropout=0,0.5', 'batch_size=8,16,32'])
    assert len({run.name for run in runs}) == len({run.command for run in runs}) == 6
    assert runs[1].name.startswith('dropout=0,batch_size=16-')
    assert runs[1].flags[:2] == ('--cell=gru', '--prefixes=a b')
    assert runs[1].flags[-2:] == ('--dropout=0', '--batch_size=16')
    (gru,), (lstm,) = (combinations(f'--cell={cell}', []) for cell in ('gru', 'lstm'))
    assert gru.name.startswith('as-given-')
    assert gru.name != lstm.name


@pytest.mark.parametrize('vary', ['dropout', 'dropout=', '=1', 'dropout=0,,1'])
def test_values_in_another_form_are_refused(vary):
    with pytest.raises(InputError, match='must be name=value,value'):
        combinations('', [vary])


def test_finished_runs_are_ranked_by_their_last_validation_perplexity(tmp_path):
    runs = combinations('', ['dropout=0,0.3,0.5,0.7'])
    for run, (first, last) in zip(runs, [(50, 60), (70, 40), (30, 55)], strict=False):
        _keep(tmp_path, run, METRICS.format(first=first, last=last))
    _, *lines = table(runs, tmp_path).splitlines()  # dropout=0.7 has no log yet
    assert [line.rpartition('-')[0].split() for line in lines] == [
        ['40.00', '40.00', '2', '0.8', 'dropout=0.3'],
        ['55.00', '30.00', '1', '0.8', 'dropout=0.5'],
        ['60.00', '50.00', '1', '0.8', 'dropout=0'],
    ]


def test_run_without_a_validation_part_is_named(tmp_path):
    (run,) = combinations('', [])
    _keep(tmp_path, run, '{"epoch": 1, "loss": 4.5, "perplexity": 90.0, "seconds": 0.5}\n')
    with pytest.raises(InputError, match=r'as-given-\w+ has no validation part: add --valid_fraction'):
        table([run], tmp_path)


def test_search_fails_if_every_run_failed(tmp_path, program_environment):
    found = programs.run(
        'experiments.search', '--folder=found', '--vary=lerning_rate=1,2', cwd=tmp_path, env=program_environment
    )
    assert found.returncode == 1
    assert len(found.stdout.splitlines()) == 1  # the header of the table
    assert found.stderr.count('ended with exit code 1') == 2
