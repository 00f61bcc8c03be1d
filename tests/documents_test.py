"""Figures and names in the documents are those of the files that they come from."""

import json
import re
import statistics
import tomllib

import pytest

from tests.conftest import ROOT

MACHINES, PEERS, CASES = ('amd', 'intel'), ('PyTorch', 'JAX', 'Keras'), ('rnn', 'gru', 'lstm')


def _ratio(machine: str, case: str, peer: str) -> str:
    log = json.loads((ROOT / f'docs/logs/bench-training-{machine}.json').read_text('utf-8'))
    rounds = log['cases'][f'{case}-256']['rounds']
    return f'{statistics.median(one["charrnn"]["epoch"] / one[peer]["epoch"] for one in rounds):.2f}'


@pytest.mark.parametrize('case', CASES)
def test_the_ratios_of_the_readme_are_those_of_the_logs(case):
    cells = [', '.join(_ratio(machine, case, peer) for machine in MACHINES) for peer in PEERS]
    assert f'| {case} | {" | ".join(cells)} |' in (ROOT / 'README.md').read_text('utf-8').splitlines()


@pytest.mark.parametrize('extra', ['dev', 'experiments'])
def test_each_package_of_an_extra_is_documented(extra):
    requirements = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))['project']['optional-dependencies'][
        extra
    ]
    (row,) = re.findall(f'^[|] `{extra}` [|] (.*) [|]$', (ROOT / 'BUILD.md').read_text('utf-8'), re.MULTILINE)
    assert row.lower().split(', ') == [re.split('[<>=]', requirement)[0] for requirement in requirements]
