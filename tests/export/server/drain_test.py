"""The program: its first lines, its errors, and a shutdown that answers the requests in progress."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.parse

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from data.errors import InputError
from export import serve as program_file
from export.artifact import streaming
from export.server import process as server_process
from export.server.models.config import ModelConfig
from export.server.options import Options
from export.server.rest import api
from export.server.server import Server
from tests.export.server.client import PATIENCE, Address, Stubs, open_reflection, predict_request
from tests.export.server.served_models import DEFAULT_LENGTH

pytestmark = pytest.mark.slow

THREADS = 16


@pytest.fixture(scope='module')
def program(model_dirs, program_environment):
    """The program serving the small charrnn, and the lines that it prints when it is ready."""
    command = [sys.executable, '-m', 'export.serve', f'--model_base_path={model_dirs}/charrnn']
    with subprocess.Popen(
        [*command, '--rest_api_port=0', '--port=0'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program_environment,
        text=True,
    ) as process:
        try:
            lines = []
            while not lines or 'curl' not in lines[-1]:
                lines.append(process.stdout.readline())
                assert lines[-1], 'it ended before it was ready'
            yield process, lines
        finally:
            process.kill()


@pytest.mark.skipif(not shutil.which('curl'), reason='no curl here')
def test_printed_command_works(program):
    pasted = subprocess.run(['bash', '-c', program[1][-1]], capture_output=True, check=True, text=True)
    assert len(json.loads(pasted.stdout)['outputs'][0]) > DEFAULT_LENGTH


def test_sigterm_answers_every_request_with_closed_stderr(program):
    process, lines = program
    assert lines[0] == 'charrnn: version 1\n'
    api, grpc_address = re.search(r'REST at (http://[^/]+)/\S+, gRPC at (\S+)\. Try:', ''.join(lines)).groups()
    begun = threading.Barrier(THREADS + 1)
    problems = []
    workers = [
        threading.Thread(target=_ask_until_closed, args=(Address(api, grpc_address), number, begun, problems))
        for number in range(THREADS)
    ]
    for worker in workers:
        worker.start()
    begun.wait(PATIENCE)
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.join()
    assert problems == []
    assert process.wait(PATIENCE) == 0


def _ask_until_closed(address, number, begun, problems):
    """Requests until the port is closed; each request that was sent must be answered."""
    stubs = Stubs(address.grpc)
    for turn in range(10**6):
        if turn == 3:
            begun.wait(PATIENCE)
        try:
            if number % 2:
                answer = address.predict('charrnn', {'instances': ['分']})
                assert answer.status == 200, answer
            else:
                stubs.predict(predict_request('charrnn', prefix=['分']))
        except ConnectionRefusedError:
            return
        except Exception as error:
            if not (isinstance(error, grpc.RpcError) and error.code() is grpc.StatusCode.UNAVAILABLE):
                problems.append(error)
                begun.abort()
            return


def test_calls_at_shutdown_are_answered_or_unavailable(serve, model_dirs):
    server, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')])
    asking = threading.Barrier(THREADS + 1)
    ended_by = []

    def ask_until_refused():
        stubs, request = Stubs(address.grpc), predict_request('m', x=[1.0])
        try:
            stubs.predict(request)
            asking.wait(PATIENCE)
            while True:
                stubs.predict(request)
        except grpc.RpcError as error:
            ended_by.append(error.code())

    workers = [threading.Thread(target=ask_until_refused) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    asking.wait(PATIENCE)
    server.stop()
    for worker in workers:
        worker.join()
    assert ended_by == [grpc.StatusCode.UNAVAILABLE] * THREADS


def test_nothing_to_serve_says_how_to_make_it(tmp_path, serve):
    with pytest.raises(InputError, match=r'/none. holds no exported model. Make one with python -m export.saved_model'):
        serve([ModelConfig('m', tmp_path / 'none')])


def test_policy_that_names_no_version_of_the_model_is_refused(model_dirs, serve):
    with pytest.raises(InputError, match=r'model_version_policy of model m names \[7\], which .* versions \[123\]'):
        serve([ModelConfig('m', model_dirs / 'half_plus_two', latest=None, specific=(7,))])


def test_label_of_a_missing_version_is_refused(model_dirs, serve):
    with pytest.raises(InputError, match=r"version_labels of model m: {'canary': 9} are not among its versions"):
        serve([ModelConfig('m', model_dirs / 'half_plus_two', labels={'canary': 9})])


def test_taken_port_is_refused(serve, model_dirs):
    config = ModelConfig('m', model_dirs / 'half_plus_two')
    server, _ = serve([config])
    for flag, ports in {'rest_api_port': (server.rest_port, 0), 'port': (0, server.grpc_port)}.items():
        with pytest.raises(
            InputError, match=rf'^{flag}=[1-9].* is not available at 127.0.0.1 \(Address already in use'
        ):
            Server([config], Options(rest_api_port=ports[0], port=ports[1]), print)


def test_taken_port_is_noticed_before_a_model_is_loaded(serve, model_dirs, monkeypatch):
    server, _ = serve([ModelConfig('m', model_dirs / 'half_plus_two')])
    loaded, free = [], _free_port()
    monkeypatch.setattr(Server, '_load', lambda *_: loaded.append(1))
    for rest_api_port, port in ((0, server.grpc_port), (free, free)):
        options = Options(rest_api_port=rest_api_port, port=port)
        with pytest.raises(InputError, match=f'^port={port} is not available'):
            Server([ModelConfig('m', model_dirs / 'charrnn')], options, print)
    assert not loaded


def _free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as free:
        return free.getsockname()[1]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason='this machine has no IPv6')
def test_server_on_all_ipv6_addresses_answers_ipv4_by_both_protocols(serve, model_dirs):
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')], host='::')
    assert address.predict('m', {'instances': [1]}).document == {'predictions': [2.5]}
    assert Stubs(address.grpc).predict(predict_request('m', x=np.float32([1])))['y'] == [2.5]


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.delattr('export.server.process')
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    for module in ('process', 'server', 'rest.listener'):
        monkeypatch.delitem(sys.modules, f'export.server.{module}')
    with pytest.raises(InputError, match="the server needs uvicorn, of the extra 'serve'"):
        program_file.import_server()


def test_shutdown_ends_a_stream_and_closes_an_idle_connection(serve, model_dirs):
    server, address = serve([ModelConfig('m', model_dirs / 'charrnn')], batches=None)
    host = urllib.parse.urlsplit(address.rest)
    body = json.dumps({'prefix': '分', 'length': 100}).encode()
    request = 'POST /v1/models/m:generate_stream HTTP/1.1\r\nHost: localhost\r\n'
    head = f'{request}Content-Length: {len(body)}\r\n\r\n'.encode()
    with (
        socket.create_connection((host.hostname, host.port), PATIENCE) as idle,
        socket.create_connection((host.hostname, host.port), PATIENCE) as streaming,
    ):
        streaming.sendall(head + body)
        received = streaming.recv(1000)
        assert b'text/event-stream' in received
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while part := streaming.recv(2**16):
            received += part
        assert b'event: done' in received
        assert idle.recv(1) == b''
        stopping.join(PATIENCE)
        assert not stopping.is_alive()


def test_cut_off_requests_are_counted_and_answered(serve, model_dirs, monkeypatch, capfd, caplog):
    server, address = serve([ModelConfig('m', model_dirs / 'charrnn')], drain_seconds=0.2)
    begun, released = threading.Semaphore(0), threading.Event()

    def work(*_):
        begun.release()
        released.wait(PATIENCE)

    def characters(*_):
        yield {'event': 'character', 'data': {}}
        yield work()

    monkeypatch.setattr(streaming.Streamer, 'characters', characters)
    monkeypatch.setattr(api, '_predict', work)
    monkeypatch.setattr(server.predictor, 'predict', work)
    stubs = Stubs(address.grpc)
    call = stubs.prediction.Predict.future(predict_request('m', prefix=['分']), PATIENCE)
    body = '{"prefix": "分"}'.encode()
    with (
        _post(address, 'generate_stream', body) as streaming_client,
        _post(address, 'predict', body) as waiting,
        _post(address, 'predict', body[:1], len(body)) as sending,
    ):
        for _ in range(3):
            assert begun.acquire(timeout=PATIENCE)
        assert server.stop() == 4
        for answer in (_rest_of(waiting), _rest_of(sending)):
            assert answer.startswith(b'HTTP/1.1 503 ')
            assert answer.endswith(
                b'{"error": "the server shut down before the answer was ready: send the request to another server."}'
            )
        events = _rest_of(streaming_client)
        assert events.count(b'event: ') == 2
        assert events.endswith(
            b'the server shut down before the answer was ready: send the request to another server."}\n\n\r\n0\r\n\r\n'
        )
    assert call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert 'Traceback' not in capfd.readouterr().err + caplog.text
    released.set()


@contextlib.contextmanager
def _post(address, verb, body, length=None):
    """A connection on which the request, or its beginning, has been sent."""
    url = urllib.parse.urlsplit(address.rest)
    head = f'POST /v1/models/m:{verb} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length or len(body)}\r\n\r\n'
    with socket.create_connection((url.hostname, url.port), PATIENCE) as connection:
        connection.sendall(head.encode() + body)
        yield connection


def _rest_of(connection):
    return b''.join(iter(lambda: connection.recv(2**16), b''))


def test_shutdown_waits_for_calls_and_not_for_streams(serve, model_dirs, monkeypatch):
    server, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')], drain_seconds=PATIENCE)
    begun, released = threading.Event(), threading.Event()
    predict = server.predictor.predict

    def predict_slowly(request):
        begun.set()
        released.wait(PATIENCE)
        return predict(request)

    monkeypatch.setattr(server.predictor, 'predict', predict_slowly)
    stubs, cut_off = Stubs(address.grpc), []
    with open_reflection(address), grpc.insecure_channel(address.grpc) as channel:
        states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), PATIENCE)
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        call = stubs.prediction.Predict.future(predict_request('m', x=[1.0]), PATIENCE)
        assert begun.wait(PATIENCE)
        stopping = threading.Thread(target=lambda: cut_off.append(server.stop()))
        began = time.monotonic()
        stopping.start()
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        _until_closed(address)
        released.set()
        assert call.result().outputs['y'].float_val == [2.5]
        stopping.join()
    assert cut_off == [0]
    assert time.monotonic() - began < PATIENCE


def _until_closed(address):
    """Until the server has no port for gRPC any more."""
    port = int(address.grpc.split(':')[1])
    with contextlib.suppress(ConnectionError):
        while True:
            socket.create_connection(('127.0.0.1', port), PATIENCE).close()


def test_second_ctrl_c_ends_the_program_at_once(monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr('os._exit', sys.exit)
    with pytest.raises(SystemExit, match='130'):
        server_process.stop(types.SimpleNamespace(stop=stop), 30.0)
    assert capsys.readouterr().err == 'interrupted\n'


def test_version_that_is_being_loaded_does_not_hold_the_shutdown(serve, model_dirs, monkeypatch, capsys):
    """The program leaves at once: Python aborts if a thread is in TensorFlow at its end."""
    server, _ = serve([ModelConfig('m', model_dirs / 'half_plus_two')], file_system_poll_wait_seconds=0.01)
    loading, loaded = threading.Event(), threading.Event()
    monkeypatch.setattr(server.manager, 'poll', lambda: loading.set() or loaded.wait(PATIENCE))
    assert loading.wait(PATIENCE)
    monkeypatch.setattr('os._exit', sys.exit)
    with pytest.raises(SystemExit) as ended:
        server_process.stop(server, 30.0)
    loaded.set()
    assert (ended.value.code, capsys.readouterr().err) == (0, 'the loading of a version was cut off\n')
