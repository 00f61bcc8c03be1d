"""`python -m export.generate`: the same texts from a folder and from servers, and every mistake in one line."""

import contextlib
import http.server
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from export.artifact.exporter import export
from tests.export.server.in_process import serve

PREFIXES = ['分', '不分开', ' ', '你在', '山一程 水']
KNOBS = ['--length=12', '--temperature=1.5', '--top_k=9', '--top_p=0.9', '--seed=7']


@pytest.fixture(scope='module')
def model_dir(model, vocabulary, tmp_path_factory):
    folder = tmp_path_factory.mktemp('models') / 'charrnn'
    export(model, vocabulary, folder, default_length=5)
    return folder


@pytest.fixture(scope='module')
def url(model_dir):
    with serve({'charrnn': model_dir, 'other': model_dir}) as url:
        yield url


@pytest.fixture
def run(program_environment, tmp_path):
    def run(*flags, stdin=b'') -> subprocess.CompletedProcess:
        found = subprocess.run(
            _command(*flags), cwd=tmp_path, env=program_environment, input=stdin, capture_output=True
        )
        return subprocess.CompletedProcess(flags, found.returncode, found.stdout.decode(), found.stderr.decode())

    return run


def _command(*flags) -> list[str]:
    return [sys.executable, '-m', 'export.generate', *flags]


@contextlib.contextmanager
def _stub(answer):
    """A server whose POSTs are answered by `answer(handler, path, body)`; gives its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            answer(self, self.path, self.rfile.read(int(self.headers['Content-Length'])))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def _send(handler, code: int, body: bytes) -> None:
    handler.send_response(code)
    handler.end_headers()
    handler.wfile.write(body)


@contextlib.contextmanager
def _on_a_terminal(environment, *flags):
    """The program with its output on a terminal: the process, and a function that reads until what it gave is seen."""
    ours, theirs = pty.openpty()
    as_users_have_it = {name: value for name, value in environment.items() if name != 'PYTHONUNBUFFERED'}
    process = subprocess.Popen(_command(*flags), stdout=theirs, stderr=subprocess.PIPE, env=as_users_have_it)
    os.close(theirs)

    def read_until(seen: str) -> str:
        found = b''
        while seen not in (text := found.decode(errors='ignore').replace('\r\n', '\n')):
            assert select.select([ours], [], [], 30)[0], f'only {text!r} came'
            found += os.read(ours, 4096)
        return text

    try:
        yield process, read_until
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def test_a_folder_and_a_server_give_the_same_lines_of_json_in_batches(run, url, model_dir, tmp_path):
    """35 rows are two batches; row n draws with seed + n, as one call of the signature with all rows does."""
    (tmp_path / 'prefixes.txt').write_bytes('\r\n'.join(PREFIXES).encode())
    flags = ['--prefix_file=prefixes.txt', '--num_samples=7', '--json', *KNOBS]
    local, served = run(f'--model_dir={model_dir}', *flags), run(f'--server={url}', *flags)
    assert (local.stderr, served.stderr) == ('', '')
    rows = [json.loads(line) for line in local.stdout.splitlines()]
    assert [json.loads(line) for line in served.stdout.splitlines()] == rows

    n = len(PREFIXES) * 7
    assert [(row['prefix'], row['seed']) for row in rows] == [(PREFIXES[i // 7], 7 + i) for i in range(n)]
    answer = tf.saved_model.load(str(model_dir / '1')).signatures['generate'](
        prefix=tf.constant([row['prefix'] for row in rows]),
        length=tf.fill([n], 12),
        temperature=tf.fill([n], 1.5),
        top_k=tf.fill([n], 9),
        top_p=tf.fill([n], 0.9),
        seed=7 + tf.range(n, dtype=tf.int64),
    )
    assert [row['text'] for row in rows] == [text.decode() for text in answer['text'].numpy()]
    np.testing.assert_allclose([row['log_likelihood'] for row in rows], answer['log_likelihood'], rtol=1e-5)
    assert (rows[0]['length'], rows[0]['temperature'], rows[0]['top_k'], rows[0]['top_p']) == (12, 1.5, 9, 0.9)


def test_prefixes_come_from_stdin_as_they_are(run, url):
    served = run(
        f'--server={url}/v1/models/other/versions/1', '--prefix_file=-', '--length=0', stdin='分\n 开 \n'.encode()
    )
    assert (served.stdout, served.stderr) == ('分\n 开 \n', '')


def test_asking_a_server_needs_no_tensorflow(program_environment):
    program = 'import sys, export.generate; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', program], env=program_environment).returncode == 0


def test_streams_to_a_terminal_as_characters_arrive(program_environment):
    """The server sends the next character only when the one before it has been seen."""
    seen, asked = threading.Semaphore(0), []

    def answer(handler, path, body):
        asked.append((path, json.loads(body)))
        handler.send_response(200)
        handler.end_headers()
        for text in ('开', '\n', '山'):
            handler.wfile.write(f'data: {json.dumps({"text": text, "log_probability": -1})}\n\n'.encode())
            seen.acquire()
        handler.wfile.write(b'event: done\ndata: {"text": "", "log_likelihood": -3}\n\n')

    with (
        _stub(answer) as url,
        _on_a_terminal(program_environment, f'--server={url}', '--prefix=分', *KNOBS) as (process, read_until),
    ):
        for text in ('分开', '\n', '山'):
            assert text in read_until(text)
            seen.release()
        assert process.wait() == 0
        assert process.stderr.read() == b''
    knobs = {'length': 12, 'temperature': 1.5, 'top_k': 9, 'top_p': 0.9, 'seed': 7}
    assert asked == [('/v1/models/charrnn:generate_stream', {'prefix': '分'} | knobs)]


def test_a_terminal_sees_the_text_that_a_pipe_gets(run, url, program_environment):
    piped = run(f'--server={url}', '--prefix=分', *KNOBS).stdout
    with _on_a_terminal(program_environment, f'--server={url}', '--prefix=分', *KNOBS) as (process, read_until):
        assert read_until(piped) == piped
        assert process.wait() == 0


@pytest.mark.parametrize('code', [400, 404])
def test_a_server_without_streaming_is_asked_to_predict(program_environment, code):
    def answer(handler, path, body):
        if path == '/v1/models/charrnn:predict' and json.loads(body)['signature_name'] == 'generate':
            _send(handler, 200, '{"predictions": [{"text": "分开", "log_likelihood": -1.5}]}'.encode())
        else:
            _send(handler, code, b'{"error": "Malformed request: POST"}')

    with (
        _stub(answer) as url,
        _on_a_terminal(program_environment, f'--server={url}/', '--prefix=分') as (process, read_until),
    ):
        assert read_until('\n') == '分开\n'
        assert process.wait() == 0


def test_ctrl_c_ends_a_stream_with_130(program_environment):
    def answer(handler, path, body):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write('data: {"text": "开"}\n\n'.encode())
        handler.rfile.read()  # till the client goes

    with (
        _stub(answer) as url,
        _on_a_terminal(program_environment, f'--server={url}', '--prefix=分') as (process, read_until),
    ):
        read_until('分开')
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.read() == b'interrupted\n'


def test_a_reader_that_goes_away_is_no_error(program_environment, url):
    flags = [f'--server={url}', '--prefix=分', '--temperature=1', '--num_samples=40']
    with subprocess.Popen(_command(*flags), stdout=-1, stderr=-1, env=program_environment) as process:
        process.stdout.close()
        assert process.stderr.read() == b''
    assert process.returncode == 141


def _broken_stream(handler, path, body):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write('data: {"text": "开"}\n\n'.encode())


def _failing_stream(handler, path, body):
    _broken_stream(handler, path, body)
    handler.wfile.write(b'event: error\ndata: {"error": "out of luck"}\n\n')


@pytest.mark.parametrize(
    ('answer', 'message'), [(_broken_stream, 'broke off the text.'), (_failing_stream, 'stopped: out of luck')]
)
def test_a_stream_that_ends_early_is_an_error(program_environment, answer, message):
    with (
        _stub(answer) as url,
        _on_a_terminal(program_environment, f'--server={url}', '--prefix=分') as (process, read_until),
    ):
        assert read_until('\n') == '分开\n'
        assert process.wait() == 1
        expected = f'error: {url}/v1/models/charrnn:generate_stream {message}\n'
        assert process.stderr.read().decode() == expected


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'or --prefix_file=prefixes.txt: none is given'),
        (['--prefix=分', '--prefix_file=some.txt'], 'or --prefix_file=prefixes.txt: both are given'),
        (['--prefix_file=nowhere.txt'], "prefix_file='nowhere.txt' cannot be read: No such file"),
        (['--prefix_file=empty.txt'], 'on each line, and line 1 is empty'),
        (['--prefix_file=gap.txt'], 'on each line, and line 2 is empty'),
        (['--prefix_file=gb.txt'], 'must be UTF-8, and line 2 is not'),
        (['--prefix=分', '--num_samples=3'], 'num_samples=3 with temperature 0 would be the same text each time'),
        (['--prefix=分', '--model_dir=x'], 'give --model_dir or --server, not both'),
        (['--prefix=囧'], "charrnn:predict answered HTTP 400: prefix[0] contains '囧' (U+56E7), which is not among"),
        (['--prefix=分', '--temperature=inf'], 'temperature[0] is inf'),
        (['--prefix=分', '--server={url}/v1/models/nobody'], 'HTTP 404: Servable not found'),
        (['--prefix=分', '--server={url}/v1/models/charrnn/versions/9'], 'HTTP 404: Servable not found'),
        (['--prefix=分', '--server=localhost:8501'], "server='localhost:8501' must be http://host:port"),
        (['--prefix=分', '--server={url}/v2'], 'must be http://host:port'),
        (['--prefix=分', '--server=http://127.0.0.1:1'], 'Start one with: python -m export.serve'),
    ],
)
def test_a_mistake_costs_one_line(run, url, tmp_path, flags, message):
    (tmp_path / 'empty.txt').write_text('')
    (tmp_path / 'gap.txt').write_text('a\n\nb\n')
    (tmp_path / 'gb.txt').write_bytes('分\n'.encode() + '分'.encode('gb18030'))
    result = run(f'--server={url}', *(flag.format(url=url) for flag in flags))
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1
    assert result.stdout == ''


def test_a_refused_prefix_is_named_by_its_place_among_the_prefixes(run, url, tmp_path):
    """Not by its row in a batch."""
    (tmp_path / 'prefixes.txt').write_text('分\n' * 17 + '囧', 'utf-8')
    result = run(f'--server={url}', '--prefix_file=prefixes.txt', '--num_samples=3', '--temperature=1')
    assert "prefix[17] contains '囧'" in result.stderr


@pytest.mark.parametrize('body', [b'<html>', b'{"outputs": 3}', b'{"predictions": [3]}', b'[]'])
def test_something_else_that_answers_is_named(run, body):
    with _stub(lambda handler, path, _: _send(handler, 200, body)) as url:
        assert (
            f'error: {url}/v1/models/charrnn:predict answered something else'
            in run(f'--server={url}', '--prefix=a').stderr
        )
