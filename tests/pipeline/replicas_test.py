"""Replicas that train together: the curves of one device, and what becomes of a run that loses a worker."""

import json
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from pipeline import run, strategies
from pipeline.config import Config
from pipeline.model import Rows, dropout
from pipeline.strategies import Cluster, Watch
from tests import programs
from tests.conftest import ROOT, TEXT

pytestmark = pytest.mark.slow

COMMON = {'corpus': 'mine.txt', 'num_epochs': 3, 'hidden_size': 16, 'batch_size': 8, 'num_steps': 5, 'prefixes': ()}
COMMON |= {'valid_fraction': 0.1, 'min_count': 2, 'checkpoint_every': '3'}
SETTINGS = {
    'random, sgd': {'sampling': 'random', 'learning_rate': 5.0, 'cell': 'gru', 'dropout': 0.3},
    'consecutive, adam': {
        **{'sampling': 'consecutive', 'optimizer': 'adam', 'learning_rate': 0.01, 'clip_norm': 0.5, 'cell': 'lstm'},
        **{'num_layers': 2, 'dropout': 0.3, 'embedding_size': 12, 'input_dropout': 0.2, 'average_from_epoch': 2},
        **{'state_reset_rate': 0.2, 'bptt_windows': 2, 'jit': False},
    },
}
JOB = SETTINGS['random, sgd'] | {'num_epochs': 15, 'worker_timeout': 5, 'sample_every': '1ep', 'jit': False}
TOLERANCE = 1e-5

# Replicas on the logical devices of one CPU stand for the GPUs of a machine.
MIRRORED = """
import json, pathlib, sys
import data
import tensorflow as tf

count = int(sys.argv[1])
cpu, = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)

from pipeline import run, strategies
from pipeline.config import Config
from pipeline.replicas import Replicas

mirrored = tf.distribute.MirroredStrategy([f'CPU:{number}' for number in range(count)])
strategies.start = lambda *_: ('CPUs', Replicas(mirrored))
run.run(Config.from_dict(json.loads(sys.argv[2])), pathlib.Path(sys.argv[3]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.txt').write_text(TEXT, 'utf-8')
    return tmp_path


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _start(folder: pathlib.Path, environment: dict[str, str], count: int, **settings) -> list[programs.Program]:
    """Starts the workers of a job on this machine."""
    addresses = [f'127.0.0.1:{port}' for port in _free_ports(count)]
    values = COMMON | settings
    flags = [f'--{name}={value}' for name, value in values.items() if name != 'prefixes']
    started = []
    for index in range(count):
        task = {'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}}
        own = {**environment, 'TF_CONFIG': json.dumps(task)}
        started.append(programs.Program('pipeline.train', *flags, '--prefixes=', cwd=folder, env=own))
    return started


def _ended(workers: list[programs.Program]) -> list[tuple[int, str, str]]:
    """Returns exit code, stdout and stderr of each worker."""
    texts = [worker.communicate() for worker in workers]
    return [(worker.wait(60), *text) for worker, text in zip(workers, texts, strict=True)]


def _metrics(run_dir: pathlib.Path) -> list[dict[str, float]]:
    lines = (run_dir / 'metrics.jsonl').read_text('utf-8').splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != 'seconds'} for line in lines]


def _assert_close(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    assert len(found) == len(expected) == COMMON['num_epochs']
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=TOLERANCE)


@pytest.mark.parametrize(('name', 'count'), [('random, sgd', 2), ('consecutive, adam', 4)])
def test_workers_have_the_curves_of_one_device(folder, program_environment, name, count):
    run.run(Config.from_dict(COMMON | SETTINGS[name]), folder / 'one')
    ended = _ended(_start(folder, program_environment, count, run_dir='many', **SETTINGS[name]))
    assert [code for code, *_ in ended] == [0] * count, ended
    _assert_close(_metrics(folder / 'many'), _metrics(folder / 'one'))
    assert 'follows the chief' in ended[1][1]
    assert 'epoch' not in ended[1][1]


@pytest.mark.parametrize(('name', 'count'), [('consecutive, adam', 2)])
def test_devices_of_a_machine_have_the_curves_of_one(folder, program_environment, name, count):
    settings = COMMON | SETTINGS[name]
    run.run(Config.from_dict(settings), folder / 'one')
    command = [sys.executable, '-c', MIRRORED, str(count), json.dumps(settings), str(folder / 'many')]
    subprocess.run(command, cwd=folder, env=program_environment | {'PYTHONPATH': str(ROOT)}, check=True, timeout=120)
    _assert_close(_metrics(folder / 'many'), _metrics(folder / 'one'))


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, program_environment) -> list[dict[str, float]]:
    """The points of the curves of a job that loses no worker."""
    folder = tmp_path_factory.mktemp('job')
    (folder / 'mine.txt').write_text(TEXT, 'utf-8')
    ended = _ended(_start(folder, program_environment, 2, run_dir='unbroken', **JOB))
    assert [code for code, *_ in ended] == [0, 0], ended
    return _metrics(folder / 'unbroken')


@pytest.mark.parametrize(('victim', 'number'), [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGTERM)])
def test_job_that_loses_a_worker_ends_and_goes_on_when_it_is_started_again(
    folder, program_environment, unbroken, victim, number
):
    """The restarted job ends with the bits of an unbroken one."""
    workers = _start(folder, program_environment, 2, run_dir='broken', **JOB)
    for line in workers[0].stdout:
        if line.startswith('epoch 3,'):
            break
    workers[victim].send_signal(number)
    ended = _ended(workers)
    other, _, error = ended[1 - victim]
    if number == signal.SIGKILL:
        assert other == 1
        assert 'a worker was lost. Start all again' in error
    else:
        assert [code for code, *_ in ended] == [143, 143]
    again = _ended(_start(folder, program_environment, 2, run_dir='broken', **JOB))
    assert [code for code, *_ in again] == [0, 0], again
    assert 'resumes after epoch' in again[0][1]
    assert _metrics(folder / 'broken') == unbroken


def test_workers_with_other_settings_are_refused(folder, program_environment):
    first, second = _free_ports(2)
    workers = []
    for index, rate in enumerate((1, 2)):
        task = {'cluster': {'worker': [f'127.0.0.1:{first}', f'127.0.0.1:{second}']}}
        own = {**program_environment, 'TF_CONFIG': json.dumps(task | {'task': {'type': 'worker', 'index': index}})}
        flags = ['--corpus=mine.txt', '--batch_size=8', '--num_steps=5', f'--learning_rate={rate}']
        workers.append(programs.Program('pipeline.train', *flags, '--run_dir=run', cwd=folder, env=own))
    for code, _, error in _ended(workers):
        assert code == 1
        assert 'the workers differ in their settings or texts' in error


def test_rows_have_their_part_of_the_dropout_of_a_minibatch():
    values, seed = tf.ones([5, 6, 3]), tf.constant([3, 7])
    whole = dropout(values, 0.5, seed)
    for first in (0, 2, 4):
        part = dropout(values[:, :2], 0.5, seed, Rows(tf.constant(first), 6))
        np.testing.assert_array_equal(part, whole[:, first : first + 2])


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', None),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}', None),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": "1"}}',
            Cluster(('a:1', 'b:2'), 1),
        ),
        (
            '{"cluster": {"worker": ["b:2"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
            Cluster(('a:1', 'b:2'), 1),
        ),
        (
            '{"cluster": {"worker": ["b:2"], "chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
            Cluster(('a:1', 'b:2'), 0),
        ),
    ],
)
def test_environment_names_the_workers(monkeypatch, text, expected):
    monkeypatch.setenv('TF_CONFIG', text)
    assert strategies.cluster() == expected
    assert strategies.resolved('auto') == ('multi_worker' if expected else 'one_device', expected)
    assert strategies.resolved('auto').is_chief == (not expected or expected.own == 0)
    assert strategies.resolved('one_device') == ('one_device', None)


@pytest.mark.parametrize(
    'text',
    [
        'not JSON',
        '[]',
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:65536", "b:2"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_malformed_environment_is_refused(monkeypatch, text):
    monkeypatch.setenv('TF_CONFIG', text)
    with pytest.raises(InputError, match=r'TF_CONFIG=.*does not name this worker'):
        strategies.cluster()


@pytest.mark.parametrize(
    ('strategy', 'message'), [('multi_worker', 'TF_CONFIG names none'), ('mirrored', 'TensorFlow finds none')]
)
def test_strategy_without_its_devices_is_refused(monkeypatch, strategy, message):
    monkeypatch.delenv('TF_CONFIG', raising=False)
    with pytest.raises(InputError, match=message):
        strategies.resolved(strategy)


def test_minibatch_that_cannot_be_shared_equally_is_refused(folder, program_environment):
    for code, _, error in _ended(_start(folder, program_environment, 2, run_dir='run', batch_size=7)):
        assert code == 1
        assert 'batch_size=7 must be a multiple of the 2 replicas' in error or 'a worker was lost' in error


def test_port_of_another_program_is_refused():
    with socket.create_server(('', 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match=f'port {port}, which TF_CONFIG gives this worker, cannot be used'):
            strategies.wait_for(Cluster((f'127.0.0.1:{port}', '127.0.0.1:1'), 0))


def test_watch_ends_when_a_worker_has_not_answered_for_the_timeout():
    times, ends = iter([0.0, 100.0, 104.9, 105.0]), []
    with socket.create_server(('127.0.0.1', 0)) as server:
        address = f'127.0.0.1:{server.getsockname()[1]}'
        watch = Watch([address], 5, ends.append, clock=lambda: next(times))
        watch.look()
    watch.look()
    assert not ends
    watch.look()
    assert ends == [f'worker {address} has not answered for 5 s']
