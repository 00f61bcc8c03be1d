"""The program: its first lines, its refusals, and an end that answers whatever was asked before."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse

import grpc
import pytest

from data.errors import InputError
from export import serve as export_serve
from export.server.model_config import ModelConfig
from export.server.options import Options
from export.server.server import Server
from tests.server.client import PATIENCE, Address, Stubs, predict_request
from tests.server.models import DEFAULT_LENGTH

THREADS = 16


@pytest.fixture(scope='module')
def program(model_dirs, program_environment):
    """The program serving the small charrnn, and the lines that it prints when it is ready."""
    command = [sys.executable, '-m', 'export.serve', f'--model_base_path={model_dirs}/charrnn']
    with subprocess.Popen(
        [*command, '--rest_api_port=0', '--port=0'], stdout=subprocess.PIPE, env=program_environment, text=True
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
def test_the_command_that_it_prints_works(program):
    pasted = subprocess.run(['bash', '-c', program[1][-1]], capture_output=True, check=True, text=True)
    assert len(json.loads(pasted.stdout)['outputs'][0]) > DEFAULT_LENGTH


def test_sigterm_answers_what_was_asked_and_ends_well(program):
    process, lines = program
    assert lines[0] == 'charrnn: version 1\n'
    rest, grpc_address = re.search(r'REST at (http://[^/]+)/\S+, gRPC at (\S+)\. Try:', ''.join(lines)).groups()
    begun = threading.Barrier(THREADS + 1)
    problems = []
    workers = [
        threading.Thread(target=_ask_until_closed, args=(Address(rest, grpc_address), number, begun, problems))
        for number in range(THREADS)
    ]
    for worker in workers:
        worker.start()
    begun.wait(PATIENCE)
    process.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.join()
    assert problems == []
    assert process.wait(PATIENCE) == 0


def _ask_until_closed(address, number, begun, problems):
    """Requests until the port is closed; whatever was sent has to be answered."""
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


def test_calls_that_grpc_has_read_are_answered_or_told_to_go_elsewhere(serve, model_dirs):
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


def test_a_label_of_a_version_that_is_not_there_is_refused(model_dirs, serve):
    with pytest.raises(InputError, match=r"version_labels of model m: {'canary': 9} are not among its versions"):
        serve([ModelConfig('m', model_dirs / 'half_plus_two', labels={'canary': 9})])


def test_a_port_that_is_taken_is_refused(serve, model_dirs):
    config = ModelConfig('m', model_dirs / 'half_plus_two')
    server, _ = serve([config])
    for flag, ports in {'rest_api_port': (server.rest_port, 0), 'port': (0, server.grpc_port)}.items():
        with pytest.raises(InputError, match=f'^{flag}=[1-9].* cannot be listened on at 127.0.0.1'):
            Server([config], Options(rest_api_port=ports[0], port=ports[1]), print)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    for module in ('server', 'rest_server'):
        monkeypatch.delitem(sys.modules, f'export.server.{module}')
    with pytest.raises(InputError, match="the server needs uvicorn, of the extra 'serve'"):
        export_serve.main()


def test_a_stream_and_an_idle_connection_at_the_end(serve, model_dirs):
    server, address = serve([ModelConfig('m', model_dirs / 'charrnn')], batches=None)
    host = urllib.parse.urlsplit(address.rest)
    body = json.dumps({'prefix': '分', 'length': 100}).encode()
    head = f'POST /v1/models/m:generate_stream HTTP/1.1\r\nHost: m\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
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
