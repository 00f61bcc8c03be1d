"""The contestants of benchmarks.training do the same work, and its operations are those of the weights."""

import json
import pathlib
import time

import numpy as np
import pytest

from benchmarks import turns, work
from benchmarks.cases import CASES, Case
from benchmarks.peers import charrnn, keras
from benchmarks.peers.task import STARTED
from benchmarks.training_report import Report
from benchmarks.turns import Contestant
from pipeline.config import ModelConfig
from pipeline.model import CharRNN
from tests.conftest import ROOT

V = 20
PEERS_PYTHON = str(ROOT / '.venv-peers' / 'bin' / 'python')


def _case(cell: str) -> Case:
    return Case(cell, 12, num_layers=2, batch_size=4, num_steps=6, init_scale=0.5)


def _write(path: pathlib.Path, case: Case) -> None:
    """Few minibatches: after many, the perplexity is almost 1, with wrong gates, too."""
    work.write(path, case, np.arange(150, dtype=np.int32) % V, V, num_epochs=2)


def _assert_same(peer: float, own: float) -> None:
    assert own != pytest.approx(V, rel=0.1)  # as if the weights did not matter
    assert peer == pytest.approx(own, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('cell', ['rnn', 'gru', 'lstm'])
def test_keras_reaches_the_same_perplexity(cell, tmp_path, monkeypatch, capsys):
    """From the same weights, on the same minibatches."""
    monkeypatch.setenv(STARTED, str(time.monotonic()))
    _write(tmp_path / 'work.npz', _case(cell).with_embedding())
    for contestant in (charrnn, keras):
        contestant.main(str(tmp_path / 'work.npz'))
    own, peer = (json.loads(line)['perplexity'] for line in capsys.readouterr().out.splitlines())
    _assert_same(peer, own)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('library', 'module', 'cell'),
    [
        ('torch', 'pytorch', 'rnn'),
        ('torch', 'pytorch', 'lstm'),  # PyTorch's gru applies the reset gate after the product
        ('jax', 'jax', 'rnn'),
        ('jax', 'jax', 'gru'),
        ('jax', 'jax', 'lstm'),
    ],
)
def test_peer_of_the_other_environment_reaches_the_same_perplexity(
    library, module, cell, tmp_path, monkeypatch, capsys
):
    if not turns.has_module(PEERS_PYTHON, library):
        pytest.skip(f'.venv-peers does not have {library}: make bench installs it')
    monkeypatch.setenv(STARTED, str(time.monotonic()))
    case = _case(cell) if library == 'jax' else _case(cell).with_embedding()
    _write(tmp_path / 'work.npz', case)
    charrnn.main(str(tmp_path / 'work.npz'))
    own = json.loads(capsys.readouterr().out)['perplexity']
    peer = Contestant(library, f'benchmarks.peers.{module}', python=PEERS_PYTHON)
    _assert_same(peer.measured([str(tmp_path / 'work.npz')])['perplexity'], own)


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
@pytest.mark.parametrize('embedded', [False, True])
def test_operations_are_six_for_each_character_and_weight_that_is_multiplied(case, embedded):
    """All matrices but the one whose rows are gathered."""
    case = case.with_embedding() if embedded else case
    names = ('cell', 'hidden_size', 'num_layers', 'embedding_size')
    model = CharRNN(ModelConfig(**{name: getattr(case, name) for name in names}), V)
    gathered = model.embedding if embedded else model.layers[0].w_xh
    matrices = [v for v in model.trainable_variables if v.shape.rank == 2 and v is not gathered]
    expected = 6 * case.batch_size * case.num_steps * sum(v.shape.num_elements() for v in matrices)
    assert case.operations(V) == expected


def test_report_compares_the_rounds():
    def found(seconds):
        return {'epoch': seconds, 'start': 1.0, 'perplexity': 9.0, 'memory': 2e6, 'version': 'x'}

    rounds = [{'charrnn': found(own), 'JAX': found(peer)} for own, peer in ((1.0, 2.0), (3.0, 4.0), (1.0, 4.0))]
    report = Report('a CPU', vocabulary_size=1027, num_characters=10_000, missing=['PyTorch'])
    report.add('rnn-256', 17657364480, rounds, {'tensorflow': 17657364480.0, 'jax': 35314728960.0})
    text = report.markdown()
    assert '| rnn-256 | 0.50 (0.25 to 0.75) |' in text
    assert '| rnn-256 | 17.7 | 35 | 50% | 18 | 100% |' in text
    assert 'Missing: PyTorch.' in text
