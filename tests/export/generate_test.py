"""`python -m export.generate`: texts from a directory and from a server, streams on a terminal, and errors."""

import contextlib
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

from tests import programs
from tests.export.client.stub_server import send, stub_server

pytestmark = pytest.mark.slow

PREFIXES = ['分', '不分开', ' ', '你在', '山一程 水']
KNOBS = ['--length=12', '--temperature=1.5', '--top_k=9', '--top_p=0.9', '--seed=7']


@pytest.fixture
def run(program_environment, tmp_path):
    def run(*flags, stdin=b'') -> subprocess.CompletedProcess:
        found = subprocess.run(
            _command(*flags), cwd=tmp_path, env=program_environment, input=stdin, capture_output=True
        )
        return subprocess.CompletedProcess(flags, found.returncode, found.stdout.decode(), found.stderr.decode())

    return run


@pytest.fixture
def run_forked(program_environment, tmp_path):
    """As `run`, in a process that has imported TensorFlow: for an exported model it starts in 0.1 s instead of 4."""
    return lambda *flags: programs.run('export.generate', *flags, cwd=tmp_path, env=program_environment)


def _command(*flags) -> list[str]:
    return [sys.executable, '-m', 'export.generate', *flags]


@contextlib.contextmanager
def _on_a_terminal(environment, *flags):
    """Runs the program with stdout on a terminal; yields the process and a function that reads until it sees a text."""
    controller, terminal = pty.openpty()
    buffered = {name: value for name, value in environment.items() if name != 'PYTHONUNBUFFERED'}
    process = subprocess.Popen(_command(*flags), stdout=terminal, stderr=subprocess.PIPE, env=buffered)
    os.close(terminal)

    def read_until(seen: str) -> str:
        found = b''
        while seen not in (text := found.decode(errors='ignore').replace('\r\n', '\n')):
            assert select.select([controller], [], [], 30)[0], f'read only {text!r}'
            found += os.read(controller, 4096)
        return text

    try:
        yield process, read_until
    finally:
        process.kill()
        process.communicate()
        os.close(controller)


def test_each_prefix_flag_is_one_prefix_and_used_unchanged(run_forked, model_dir):
    found = run_forked(f'--model_dir={model_dir}', '--prefix= 分 ', '--prefix=不分开', '--length=0')
    assert found.stdout == ' 分 \n不分开\n'
    refused = run_forked(f'--model_dir={model_dir}', '--prefix=分,开', '--length=0')
    assert "prefix[0] contains ','" in refused.stderr


def test_directory_and_server_give_the_same_json_lines(run, url, model_dir, tmp_path):
    """35 rows are two batches. The texts equal those of one call of the signature, in which row n has seed + n."""
    (tmp_path / 'prefixes.txt').write_bytes('\r\n'.join(PREFIXES).encode())
    flags = ['--prefix_file=prefixes.txt', '--num_samples=7', '--json', *KNOBS]
    local, remote = run(f'--model_dir={model_dir}', *flags), run(f'--server={url}', *flags)
    assert (local.stderr, remote.stderr) == ('', '')
    rows = [json.loads(line) for line in local.stdout.splitlines()]
    assert [json.loads(line) for line in remote.stdout.splitlines()] == rows

    n = len(PREFIXES) * 7
    assert [(row['prefix'], row['seed']) for row in rows] == [(PREFIXES[i // 7], 7 + i) for i in range(n)]
    answer = tf.saved_model.load(str(model_dir / '1')).signatures['generate'](
        prefix=tf.constant([row['prefix'] for row in rows]),
        length=tf.fill([n], 12),
        temperature=tf.fill([n], 1.5),
        top_k=tf.fill([n], 9),
        top_p=tf.fill([n], 0.9),
        stop=tf.fill([n], ''),
        seed=7 + tf.range(n, dtype=tf.int64),
    )
    assert [row['text'] for row in rows] == [text.decode() for text in answer['text'].numpy()]
    np.testing.assert_allclose([row['log_likelihood'] for row in rows], answer['log_likelihood'], rtol=1e-5)
    assert (rows[0]['length'], rows[0]['temperature'], rows[0]['top_k'], rows[0]['top_p']) == (12, 1.5, 9, 0.9)


def test_sample_uses_the_settings_of_the_export(run_forked, url, model_dir):
    signature = tf.saved_model.load(str(model_dir / '1')).signatures['sample']
    answer = signature(prefix=tf.constant(['分', '分', '你', '你']), seed=tf.range(3, 7, dtype=tf.int64))
    flags = ['--prefix=分', '--prefix=你', '--sample', '--num_samples=2', '--seed=3', '--json']
    for model in (f'--model_dir={model_dir}', f'--server={url}'):
        rows = [json.loads(line) for line in run_forked(model, *flags).stdout.splitlines()]
        assert [row['text'] for row in rows] == [text.decode() for text in answer['text'].numpy()]
        assert [row['seed'] for row in rows] == [3, 4, 5, 6]
    refused = run_forked(f'--server={url}', '--prefix=分', '--sample', '--top_k=3')
    assert '--top_k does not go with --sample, whose settings were fixed at export' in refused.stderr


def test_prefixes_from_stdin_are_unchanged(run, url):
    result = run(
        f'--server={url}/v1/models/other/versions/1', '--prefix_file=-', '--length=0', stdin='分\n 开 \n'.encode()
    )
    assert (result.stdout, result.stderr) == ('分\n 开 \n', '')


def test_program_does_not_import_tensorflow_for_a_server(program_environment):
    program = 'import sys, export.generate; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', program], env=program_environment).returncode == 0


def test_terminal_shows_characters_as_they_arrive(program_environment):
    """The server sends each character only after the terminal has shown the previous one."""
    shown, posted = threading.Semaphore(0), []

    def answer(handler, path, body):
        posted.append((path, json.loads(body)))
        handler.send_response(200)
        handler.end_headers()
        for text in ('开', '\n', '山'):
            handler.wfile.write(f'data: {json.dumps({"text": text, "log_probability": -1})}\n\n'.encode())
            shown.acquire()
        handler.wfile.write(b'event: done\ndata: {"text": "", "log_likelihood": -3}\n\n')

    with (
        stub_server(answer) as url,
        _on_a_terminal(program_environment, f'--server={url}', '--prefix=分', *KNOBS) as (process, read_until),
    ):
        for text in ('分开', '\n', '山'):
            assert text in read_until(text)
            shown.release()
        assert process.wait() == 0
        assert process.stderr.read() == b''
    knobs = {'length': 12, 'temperature': 1.5, 'top_k': 9, 'top_p': 0.9, 'stop': '', 'seed': 7}
    assert posted == [('/v1/models/charrnn:generate_stream', {'prefix': '分'} | knobs)]


@pytest.mark.parametrize('local', [False, True])
def test_terminal_and_pipe_get_the_same_text(run_forked, url, model_dir, program_environment, local):
    flags = [f'--model_dir={model_dir}' if local else f'--server={url}', '--prefix=分', '--stop=山', *KNOBS]
    piped = run_forked(*flags).stdout
    with _on_a_terminal(program_environment, *flags) as (process, read_until):
        assert read_until(piped) == piped
        assert process.wait() == 0


def test_terminal_shows_the_predicted_text_if_the_server_cannot_stream(program_environment):
    def answer(handler, path, body):
        if path == '/v1/models/charrnn:predict' and json.loads(body)['signature_name'] == 'generate':
            send(handler, 200, '{"predictions": [{"text": "分开", "log_likelihood": -1.5}]}'.encode())
        else:
            send(handler, 404, b'{"error": "Malformed request: POST"}')

    with (
        stub_server(answer) as url,
        _on_a_terminal(program_environment, f'--server={url}/', '--prefix=分') as (process, read_until),
    ):
        assert read_until('\n') == '分开\n'
        assert process.wait() == 0


def test_ctrl_c_during_a_stream_exits_with_130(program_environment):
    def answer(handler, path, body):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write('data: {"text": "开"}\n\n'.encode())
        handler.rfile.read()  # until the client disconnects

    with (
        stub_server(answer) as url,
        _on_a_terminal(program_environment, f'--server={url}', '--prefix=分') as (process, read_until),
    ):
        read_until('分开')
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.read() == b'interrupted\n'


def test_closed_stdout_is_not_an_error(program_environment, url):
    flags = [f'--server={url}', '--prefix=分', '--temperature=1', '--num_samples=40']
    with subprocess.Popen(_command(*flags), stdout=-1, stderr=-1, env=program_environment) as process:
        process.stdout.close()
        assert process.stderr.read() == b''
    assert process.returncode == 141


def test_error_during_a_stream_follows_the_text_on_a_new_line(program_environment):
    broken = 'data: {"text": "开"}\n\n'.encode()
    with (
        stub_server(lambda handler, path, body: send(handler, 200, broken)) as url,
        _on_a_terminal(program_environment, f'--server={url}', '--prefix=分') as (process, read_until),
    ):
        assert read_until('\n') == '分开\n'
        assert process.wait() == 1
        expected = f'error: {url}/v1/models/charrnn:generate_stream broke off the text.\n'
        assert process.stderr.read().decode() == expected


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'give a text to continue, as --prefix=分开, or texts, as --prefix_file=prefixes.txt.'),
        (['--prefix=分', '--prefix_file=some.txt'], 'or texts, as --prefix_file=prefixes.txt, not both.'),
        (['--prefix_file=nowhere.txt'], "prefix_file='nowhere.txt' cannot be read: No such file"),
        (['--prefix=分', '--num_samples=3'], 'num_samples=3 with temperature=0 would generate the same text each time'),
        (['--prefix=分', '--model_dir=x'], 'give --model_dir or --server, not both'),
        (['--prefix=囧'], "charrnn:predict answered HTTP 400: prefix[0] contains '囧' (U+56E7), which is not among"),
        (['--prefix=分', '--temperature=inf'], 'temperature[0] is inf'),
        (['--prefix=分', '--length=-3000000000'], '--length=-3000000000'),
        (['--prefix=分', '--top_k=-3000000000'], '--top_k=-3000000000'),
        (['--prefix=分', '--server={url}/v1/models/nobody'], 'HTTP 404: Servable not found'),
        (['--prefix=分', '--server={url}/v1/models/charrnn/versions/9'], 'HTTP 404: Servable not found'),
        (['--prefix=分', '--server=localhost:8501'], "server='localhost:8501' must be http://host:port"),
    ],
)
def test_error_is_one_line_on_stderr_and_exit_code_1(run, url, flags, message):
    own = [] if any(flag.startswith('--server=') for flag in flags) else [f'--server={url}']
    result = run(*own, *(flag.format(url=url) for flag in flags))
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1
    assert result.stdout == ''
