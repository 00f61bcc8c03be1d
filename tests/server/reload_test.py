"""A new version takes over without a failed request; a broken one is reported, and what was there stays."""

import gc
import itertools
import shutil
import threading
import weakref

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from data.errors import InputError
from export.server import model_config
from export.server.errors import ServingError
from export.server.manager import Manager, State
from export.server.model_config import ModelConfig
from export.server.predictor import specification
from tests.conftest import ROOT
from tests.server import models
from tests.server.client import Stubs, predict_request

THREADS = 8


class Loaded:
    """In place of a servable: what `load` was called with."""

    def __init__(self, name, version, directory):
        content = (directory / 'saved_model.pb').read_text()
        if content != 'good':
            raise ValueError(f'{content}\nand a second line')
        self.version = version


class Clock:
    """Seconds, as the test sets them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(tmp_path, clock):
    """`watch(**policy)` -> a manager of the model `m` in tmp_path."""

    def make(**policy):
        config = ModelConfig('m', tmp_path, **policy)
        return Manager([config], Loaded, max_num_load_retries=2, load_retry_interval=60, clock=clock)

    return make


def _put(directory, version, content='good'):
    (directory / version).mkdir()
    (directory / version / 'saved_model.pb').write_text(content)


def _states(manager):
    return {s.version: State.Name(s.state) for s in manager.status(specification('m')).model_version_status}


def _answering(manager, **which):
    with manager.lease(specification('m', **which)) as servable:
        return servable.version


def test_the_newest_takes_over_and_the_old_one_lets_its_requests_finish(watch, tmp_path):
    _put(tmp_path, '2')
    manager = watch()
    manager.poll()
    with manager.lease(specification('m')) as old:
        _put(tmp_path, '00000010')
        manager.poll()
        assert _answering(manager) == 10
        assert old.version == 2
        assert _states(manager) == {10: 'AVAILABLE', 2: 'UNLOADING'}
        with pytest.raises(ServingError, match=r'Specific\(m, 2\)'):
            _answering(manager, version=2)
    kept = weakref.ref(old)
    del old
    manager.poll()
    gc.collect()
    assert kept() is None
    assert _states(manager) == {10: 'AVAILABLE', 2: 'END'}


def test_all_versions(watch, tmp_path):
    manager = watch(latest=None)
    for version in ('1', '3'):
        _put(tmp_path, version)
    (tmp_path / 'writing-xyz').mkdir()
    manager.poll()
    assert manager.available('m') == [1, 3]
    assert _answering(manager) == 3
    assert _answering(manager, version=1) == 1


def test_specific_versions_and_labels(watch, tmp_path):
    manager = watch(latest=None, specific=(1, 2), labels={'stable': 1, 'canary': 4})
    for version in ('1', '2', '3'):
        _put(tmp_path, version)
    manager.poll()
    assert manager.available('m') == [1, 2]
    assert _answering(manager, label='stable') == 1
    with pytest.raises(ServingError, match=r'Specific\(m, 4\)'):
        _answering(manager, label='canary')


def test_a_broken_version_is_tried_again_as_often_as_told_and_after_it_changed(watch, tmp_path, clock):
    _put(tmp_path, '1')
    _put(tmp_path, '2', 'broken')
    manager = watch()
    attempts = itertools.count(1)
    manager._load = lambda *args, load=manager._load: (next(attempts), load(*args))[1]
    manager.poll()
    assert manager.available('m') == []  # the newest is the one that is wanted
    (status,) = manager.status(specification('m')).model_version_status
    assert (status.state, status.status.error_code, status.status.error_message) == (State.END, 2, 'broken')
    for clock.now in (59, 60, 120, 180, 240):
        manager.poll()
    assert next(attempts) == 4  # the first time and two retries
    (tmp_path / '2' / 'saved_model.pb').write_text('good')
    manager.poll()
    assert _answering(manager) == 2


def test_what_serves_stays_when_its_successor_is_broken_or_its_folder_has_gone(watch, tmp_path):
    _put(tmp_path, '1')
    manager = watch()
    manager.poll()
    _put(tmp_path, '2', 'broken')
    manager.poll()
    assert _answering(manager) == 1
    assert _states(manager) == {2: 'END', 1: 'AVAILABLE'}
    for version in ('1', '2'):
        shutil.rmtree(tmp_path / version)
    manager.poll()
    assert _answering(manager) == 1
    assert _states(manager) == {1: 'AVAILABLE'}


def test_removing_the_newest_version_goes_back_to_the_one_before(watch, tmp_path):
    for version in ('1', '2'):
        _put(tmp_path, version)
    manager = watch()
    manager.poll()
    shutil.rmtree(tmp_path / '2')
    manager.poll()
    assert _answering(manager) == 1


def test_a_config_names_models_policies_and_labels(tmp_path):
    path = tmp_path / 'models.config'
    path.write_text(
        'model_config_list {\n'
        '  config { name: "a" base_path: "/a" }\n'
        '  config { name: "b" base_path: "/b" model_version_policy { latest { num_versions: 2 } } }\n'
        '  config { name: "c" base_path: "/c" model_version_policy { specific { versions: 3 versions: 4 } }\n'
        '    version_labels { key: "canary" value: 4 } }\n'
        '}\n'
    )
    a, b, c = model_config.read(path)
    assert [model.wanted([1, 3, 4]) for model in (a, b, c)] == [[4], [3, 4], [3, 4]]
    assert c.labels == {'canary': 4}


def test_the_documented_config_can_be_used():
    (model,) = model_config.read(ROOT / 'docs' / 'serving' / 'models.config')
    assert (model.name, model.wanted([1, 2, 3])) == ('charrnn', [2, 3])


@pytest.mark.parametrize('text', ['x', '', 'model_config_list { config { } }'])
def test_a_config_that_cannot_be_used_is_refused(text, tmp_path):
    (tmp_path / 'models.config').write_text(text)
    with pytest.raises(InputError, match='model_config_file'):
        model_config.read(tmp_path / 'models.config')


def test_under_load_no_request_fails_and_the_new_version_answers(serve, tmp_path):
    models.write_half_plus_two(tmp_path / '1')
    server, address = serve([ModelConfig('m', tmp_path)])
    before_swap = threading.Barrier(THREADS + 1)
    swapped = threading.Event()
    problems = []

    def ask(worker):
        stubs = Stubs(address.grpc)
        answers = []
        while not swapped.is_set() or answers[-1] == 2.5:
            if worker % 2:
                answers.append(address.predict('m', {'instances': [1.0]}).document['predictions'][0])
            else:
                answers.append(float(stubs.predict(predict_request('m', x=[1.0]))['y'][0]))
            if len(answers) == 3:
                before_swap.wait()
        if answers != sorted(answers) or set(answers) != {2.5, 3.0}:
            problems.append(answers)

    def guarded(worker):
        try:
            ask(worker)
        except Exception as error:
            problems.append(error)
            before_swap.abort()

    workers = [threading.Thread(target=guarded, args=(worker,)) for worker in range(THREADS)]
    for worker in workers:
        worker.start()
    before_swap.wait()
    models.write_half_plus_two(tmp_path / 'writing-2', half=1.0).rename(tmp_path / '2')
    server.manager.poll()
    swapped.set()
    for worker in workers:
        worker.join()
    assert problems == []
    server.manager.poll()
    states = address.http('GET', '/v1/models/m').document['model_version_status']
    assert [(s['version'], s['state']) for s in states] == [('2', 'AVAILABLE'), ('1', 'END')]


def test_a_version_whose_warm_up_fails_does_not_take_over(serve, tmp_path):
    models.write_half_plus_two(tmp_path / '1')
    server, address = serve([ModelConfig('m', tmp_path)])
    _add_warm_up(models.write_half_plus_two(tmp_path / '2'), predict_request('m', x=[1.0]))
    server.manager.poll()
    assert server.manager.available('m') == [2]
    _add_warm_up(models.write_half_plus_two(tmp_path / '3'), predict_request('m', z=[1.0]))
    server.manager.poll()
    broken = address.http('GET', '/v1/models/m/versions/3').document['model_version_status'][0]
    assert (broken['state'], broken['status']['error_code']) == ('END', 'INVALID_ARGUMENT')
    assert 'Sent extra: {z}' in broken['status']['error_message']
    assert address.predict('m', {'instances': [1]}).document == {'predictions': [2.5]}
    assert server.manager.available('m') == [2]


def _add_warm_up(version_dir, request: predict_pb2.PredictRequest):
    (version_dir / 'assets.extra').mkdir()
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    with tf.io.TFRecordWriter(str(version_dir / 'assets.extra' / 'tf_serving_warmup_requests')) as writer:
        writer.write(log.SerializeToString())


def test_a_damaged_version_does_not_take_over(serve, tmp_path):
    models.write_half_plus_two(tmp_path / '1')
    server, address = serve([ModelConfig('m', tmp_path)])
    (tmp_path / '2').mkdir()
    (tmp_path / '2' / 'saved_model.pb').write_bytes(b'\xff')
    shutil.copytree(tmp_path / '1', tmp_path / '4')
    (tmp_path / '4' / 'variables' / 'variables.index').unlink()
    server.manager.poll()
    assert server.manager.available('m') == [1]
    with pytest.raises(grpc.RpcError, match='Servable not found'):
        Stubs(address.grpc).predict(_of_version(4))


def _of_version(version):
    request = predict_request('m', x=[1.0])
    request.model_spec.version.value = version
    return request
