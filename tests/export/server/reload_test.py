"""A new version takes over without a failed request; a broken one is reported, and the old version stays."""

import concurrent.futures
import contextlib
import re
import shutil
import threading

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from data.errors import InputError
from export.server.models import config
from export.server.models.config import ModelConfig
from export.server.options import Options
from export.server.server import Server
from tests.conftest import ROOT
from tests.export.server import served_models
from tests.export.server.client import PATIENCE, Stubs, predict_request

THREADS = 8


def test_config_names_models_policies_and_labels(tmp_path):
    path = tmp_path / 'models.config'
    path.write_text(
        'model_config_list {\n'
        '  config { name: "a" base_path: "/a" }\n'
        '  config { name: "b" base_path: "/b" model_version_policy { latest { num_versions: 2 } } }\n'
        '  config { name: "c" base_path: "/c" model_version_policy { specific { versions: 3 versions: 4 } }\n'
        '    version_labels { key: "canary" value: 4 } }\n'
        '}\n'
    )
    a, b, c = config.read(path)
    assert [model.wanted([1, 3, 4]) for model in (a, b, c)] == [[4], [3, 4], [3, 4]]
    assert c.labels == {'canary': 4}


def test_documented_config_is_valid():
    (model,) = config.read(ROOT / 'docs' / 'serving' / 'models.config')
    assert (model.name, model.wanted([1, 2, 3])) == ('charrnn', [2, 3])


@pytest.mark.parametrize('text', ['x', '', 'model_config_list { config { } }'])
def test_invalid_config_is_refused(text, tmp_path):
    (tmp_path / 'models.config').write_text(text)
    with pytest.raises(InputError, match='model_config_file'):
        config.read(tmp_path / 'models.config')


@pytest.mark.parametrize(('number', 'states'), [('2', [('2', 'AVAILABLE'), ('1', 'END')]), ('1', [('1', 'AVAILABLE')])])
def test_under_load_no_request_fails_and_the_new_version_answers(number, states, serve, tmp_path):
    """A new version, or another one under the same number."""
    served_models.write_half_plus_two(tmp_path / '1')
    server, address = serve([ModelConfig('m', tmp_path)])
    before_swap, swapped = threading.Barrier(THREADS + 1), threading.Event()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        asking = [pool.submit(_answers, address, worker % 2, before_swap, swapped) for worker in range(THREADS)]
        try:
            with contextlib.suppress(threading.BrokenBarrierError):  # the result of a thread says why
                before_swap.wait(PATIENCE)
            served_models.write_half_plus_two(tmp_path / 'writing', half=1.0)
            if number == '1':
                shutil.rmtree(tmp_path / '1')
            (tmp_path / 'writing').rename(tmp_path / number)
            server.manager.poll()
        finally:
            swapped.set()
    for thread in asking:
        answers = thread.result()
        assert answers == sorted(answers)
        assert set(answers) == {2.5, 3.0}
    server.manager.poll()
    found = address.http('GET', '/v1/models/m').document['model_version_status']
    assert [(s['version'], s['state']) for s in found] == states


def _answers(address, over_rest, before_swap, swapped) -> list[float]:
    """The answers to requests that go on until one is sent after the swap; three of them come before it."""
    stubs, answers, is_last = Stubs(address.grpc), [], False
    try:
        while not is_last:
            is_last = swapped.is_set()
            if over_rest:
                answers.append(address.predict('m', {'instances': [1.0]}).document['predictions'][0])
            else:
                answers.append(float(stubs.predict(predict_request('m', x=[1.0]))['y'][0]))
            if len(answers) == 3:
                before_swap.wait(PATIENCE)
    except Exception:
        before_swap.abort()
        raise
    return answers


def test_version_with_a_failing_warm_up_is_not_served(serve, tmp_path):
    served_models.write_half_plus_two(tmp_path / '1')
    server, address = serve([ModelConfig('m', tmp_path)], enable_model_warmup=True)
    _add_warm_up(served_models.write_half_plus_two(tmp_path / '2'), predict_request('m', x=[1.0]))
    server.manager.poll()
    assert server.manager.available('m') == [2]
    _add_warm_up(served_models.write_half_plus_two(tmp_path / '3'), predict_request('m', z=[1.0]))
    server.manager.poll()
    broken = address.http('GET', '/v1/models/m/versions/3').document['model_version_status'][0]
    assert (broken['state'], broken['status']['error_code']) == ('END', 'INVALID_ARGUMENT')
    assert 'Sent extra: {z}' in broken['status']['error_message']
    assert address.predict('m', {'instances': [1]}).document == {'predictions': [2.5]}
    assert server.manager.available('m') == [2]


def test_warm_up_request_that_no_client_may_send_is_left_out(serve, tmp_path):
    _add_warm_up(served_models.write_half_plus_two(tmp_path / '1'), predict_request('m', x=[1.0, 2.0]))
    server, _ = serve([ModelConfig('m', tmp_path)], enable_model_warmup=True, max_rows=1)
    assert server.manager.available('m') == [1]


def test_version_is_not_warmed_up_where_that_is_off(serve, tmp_path):
    _add_warm_up(served_models.write_half_plus_two(tmp_path / '1'), predict_request('m', z=[1.0]))  # it would fail
    server, _ = serve([ModelConfig('m', tmp_path)], enable_model_warmup=False)
    assert server.manager.available('m') == [1]


def _add_warm_up(version_dir, request: predict_pb2.PredictRequest):
    (version_dir / 'assets.extra').mkdir()
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    with tf.io.TFRecordWriter(str(version_dir / 'assets.extra' / 'tf_serving_warmup_requests')) as writer:
        writer.write(log.SerializeToString())


def test_damaged_version_is_not_served(serve, tmp_path):
    served_models.write_half_plus_two(tmp_path / '1')
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


def test_watcher_survives_an_error_and_reports_it_once(tmp_path):
    served_models.write_half_plus_two(tmp_path / '1')
    said, ended = [], threading.Event()

    def report(line):
        said.append(line.splitlines()[-1])
        if 'available' not in line:
            raise BrokenPipeError

    server = Server(
        [ModelConfig('m', tmp_path)], Options(rest_api_port=0, port=0, file_system_poll_wait_seconds=0.001), report
    )
    failures = [InputError('a'), InputError('a'), OSError('b'), RuntimeError('c'), None, RuntimeError('c')]
    turns = iter(failures)

    def poll():
        failure = next(turns, ended)
        if failure is ended:
            ended.set()
        elif failure:
            raise failure

    server.manager.poll = poll
    server.start()
    try:
        assert ended.wait(PATIENCE)
    finally:
        server.stop()
    assert said == ['m version 1 is available', 'a', 'b', 'RuntimeError: c', 'RuntimeError: c']


def test_base_path_that_is_not_a_folder_of_versions_is_explained(serve, tmp_path):
    served_models.write_half_plus_two(tmp_path / '1')
    for path, problem in {
        tmp_path / '1': f"/1' is one version of a model: use the folder that holds it, '{tmp_path}'.",
        tmp_path / '1' / 'saved_model.pb': "/saved_model.pb' is not a folder: use the folder that holds the versions",
    }.items():
        with pytest.raises(InputError, match=re.escape(problem)):
            serve([ModelConfig('m', path)])
    (tmp_path / '1').rename(tmp_path / 'mine')
    with pytest.raises(InputError, match='and rename the version to a number'):
        serve([ModelConfig('m', tmp_path / 'mine')])
