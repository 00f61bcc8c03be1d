"""A downloaded file is complete and right, or absent. The server is on this machine."""

import errno
import gzip
import hashlib
import http.server
import pathlib
import re
import threading
import urllib.request
from collections.abc import Callable

import pytest

from data import download
from data.download import Remote, data_home, remote_from_url
from data.errors import InputError
from data.output import OutputError

BODY = b'a song of some bytes'


class _Web(http.server.ThreadingHTTPServer):
    """Answers with `pages[path]`, reports the length `claimed[path]` if given, and records the paths in `asked`."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.pages: dict[str, bytes] = {}
        self.claimed: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.when_asked: Callable[[], None] = lambda: None

    def url(self, path: str) -> str:
        return f'http://127.0.0.1:{self.server_port}{path}'


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.when_asked()
        if self.path not in self.server.pages:
            self.send_error(404)
            return
        body = self.server.pages[self.path]
        self.send_response(302 if 'Location' in self.server.headers else 200)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(self.server.claimed.get(self.path, len(body))))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def web():
    with _Web() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch) -> pathlib.Path:
    """The data home, which does not exist yet."""
    monkeypatch.setenv('CHARRNN_DATA_HOME', str(tmp_path / 'new' / 'home'))
    monkeypatch.setenv('no_proxy', '*')
    return tmp_path / 'new' / 'home'


def fetch(remote: Remote) -> pathlib.Path:
    return download.fetch(remote, lambda path: None)


def _message(remote: Remote) -> str:
    with pytest.raises(InputError) as caught:
        fetch(remote)
    return str(caught.value)


def _kept(home: pathlib.Path) -> list[pathlib.Path]:
    return list(home.rglob('*'))


@pytest.mark.parametrize('algorithm', ['sha256', 'sha1'])
def test_file_with_the_right_digest_is_kept(web, home, algorithm):
    web.pages['/song'] = BODY
    path = fetch(Remote(web.url('/song'), 'song.txt', (algorithm, hashlib.new(algorithm, BODY).hexdigest())))
    assert path.read_bytes() == BODY
    assert _kept(home) == [home / 'song.txt']


def test_mirrors_are_asked_in_order_before_the_origin(web, home, monkeypatch, capsys):
    """The first is no URL, the second lacks the file, the third has another file."""
    mirrors = ['nowhere', web.url('/empty'), web.url('/other/'), web.url('/good')]
    monkeypatch.setenv('CHARRNN_MIRRORS', ' '.join(mirrors))
    web.pages |= {'/other/song.txt': b'another', '/good/song.txt': BODY, '/origin': BODY}
    remote = Remote(web.url('/origin'), 'song.txt', ('sha256', hashlib.sha256(BODY).hexdigest()))
    assert fetch(remote).read_bytes() == BODY
    assert web.asked == ['/empty/song.txt', '/other/song.txt', '/good/song.txt']
    assert capsys.readouterr().err.count('Trying the next source.') == 3
    (home / 'song.txt').unlink()
    del web.pages['/good/song.txt']
    assert fetch(remote).read_bytes() == BODY
    assert web.asked[-1] == '/origin'


def test_file_without_a_known_digest_is_not_fetched_from_a_mirror(web, home, monkeypatch):
    monkeypatch.setenv('CHARRNN_MIRRORS', web.url('/mirror'))
    web.pages['/song.txt'] = BODY
    fetch(remote_from_url(web.url('/song.txt')))
    assert web.asked == ['/song.txt']


def test_file_of_many_chunks_is_complete(web, home):
    web.pages['/song.txt'] = bytes(range(256)) * 1000
    assert fetch(remote_from_url(web.url('/song.txt'))).read_bytes() == web.pages['/song.txt']


def test_unfinished_file_does_not_get_the_final_name(web, home):
    """A program that is killed while it downloads must not leave half a file for the next one to find."""
    seen = []
    web.pages['/song'] = BODY
    web.when_asked = lambda: seen.append((home / 'song.txt').exists())
    assert fetch(Remote(web.url('/song'), 'song.txt')).exists()
    assert seen == [False]


def test_two_downloads_of_one_file_are_not_mixed(web, home):
    """As of two containers, whose processes have the same number, in one data home."""
    web.pages |= {'/song': BODY, '/other': b'another'}
    others = iter([Remote(web.url('/other'), 'song.txt')])
    web.when_asked = lambda: [fetch(other).read_bytes() for other in others]
    assert fetch(Remote(web.url('/song'), 'song.txt')).read_bytes() == BODY
    assert web.asked == ['/song', '/other']
    assert _kept(home) == [home / 'song.txt']


def test_file_with_another_digest_is_not_kept(web, home):
    web.pages['/song.txt'] = BODY + b'!'
    expected = hashlib.sha256(BODY).hexdigest()
    message = _message(Remote(web.url('/song.txt'), 'song.txt', ('sha256', expected)))
    for part in (web.url('/song.txt'), 'sha256', expected, hashlib.sha256(BODY + b'!').hexdigest()):
        assert part in message
    assert _kept(home) == []


def test_damaged_file_in_the_data_home_is_refused_and_kept(web, home):
    web.pages['/song.txt'] = BODY
    home.mkdir(parents=True)
    (home / 'song.txt').write_bytes(b'damaged')
    message = _message(Remote(web.url('/song.txt'), 'song.txt', ('sha256', hashlib.sha256(BODY).hexdigest())))
    assert f'Delete {home / "song.txt"}' in message
    assert (home / 'song.txt').read_bytes() == b'damaged'
    assert web.asked == []


def test_incomplete_body_is_not_kept(web, home):
    web.pages['/song.txt'], web.claimed['/song.txt'] = BODY, len(BODY) + 1000
    message = _message(remote_from_url(web.url('/song.txt')))
    assert web.url('/song.txt') in message
    assert _kept(home) == []


def test_closed_stdout_is_not_an_error_of_the_download(web, home, monkeypatch):
    web.pages['/song.txt'] = BODY

    def closed(*args, **kwargs):
        raise OutputError(BrokenPipeError())

    monkeypatch.setattr('builtins.print', closed)
    with pytest.raises(OutputError):
        fetch(Remote(web.url('/song.txt'), 'song.txt'))
    assert _kept(home) == []


def test_connection_that_breaks_while_the_request_is_sent_is_an_error_of_the_download(home, monkeypatch):
    def broken(*_):
        raise BrokenPipeError(errno.EPIPE, 'Broken pipe')

    monkeypatch.setattr(urllib.request.OpenerDirector, 'open', broken)
    assert 'cannot fetch http://127.0.0.1/song.txt' in _message(Remote('http://127.0.0.1/song.txt', 'song.txt'))


def test_folder_in_place_of_a_known_file_is_named(home):
    (home / 'song.txt').mkdir(parents=True)
    message = _message(Remote('http://127.0.0.1:0/', 'song.txt', ('sha256', '0')))
    assert message == f'cannot read {home / "song.txt"}: Is a directory. Delete it to fetch it again.'


def test_unavailable_url_is_named_with_the_way_out(web, home):
    message = _message(Remote(web.url('/none.txt'), 'song.txt'))
    for part in (web.url('/none.txt'), '404', str(home / 'song.txt'), 'CHARRNN_DATA_HOME'):
        assert part in message
    assert _kept(home) == []


def test_unreachable_server_is_an_input_error(home):
    assert 'http://127.0.0.1:0/song.txt' in _message(remote_from_url('http://127.0.0.1:0/song.txt'))


def test_server_timeout_is_an_input_error(web, home, monkeypatch):
    monkeypatch.setattr(download, '_TIMEOUT', 0.1)
    web.pages['/song.txt'] = BODY
    given_up = threading.Event()
    web.when_asked = lambda: given_up.wait(10)
    try:
        message = _message(remote_from_url(web.url('/song.txt')))
    finally:
        given_up.set()
    assert web.url('/song.txt') in message
    assert 'timed out' in message
    assert _kept(home) == []


@pytest.mark.parametrize(
    ('first', 'second'),
    [('/a/poems.txt', '/b/poems.txt'), ('/poems.txt?page=1', '/poems.txt?page=2')],
)
def test_urls_with_the_same_base_name_have_separate_files(web, home, first, second):
    web.pages = {first: b'first', second: b'second'}
    paths = [fetch(remote_from_url(web.url(path))) for path in (first, second)]
    assert [path.read_bytes() for path in paths] == [b'first', b'second']


@pytest.mark.parametrize(('path', 'suffix'), [('/songs.txt.zip?raw=1', '.zip'), ('/a/song.gz', '.gz'), ('', '.txt')])
def test_file_keeps_the_suffix_of_the_url(path, suffix):
    """A file that is named .zip must be one."""
    assert pathlib.Path(remote_from_url(f'http://127.0.0.1{path}').filename).suffix == suffix


def test_file_is_fetched_once(web, home):
    web.pages['/song.txt'] = BODY
    for _ in range(2):
        assert fetch(remote_from_url(web.url('/song.txt'))).read_bytes() == BODY
    assert web.asked == ['/song.txt']


@pytest.mark.parametrize('chunk', [1, 7, 1 << 16])
@pytest.mark.parametrize('zeros', [b'', bytes(9)])
@pytest.mark.parametrize('members', [[BODY], [BODY, b'', b' and more', BODY]])
def test_body_that_the_server_compresses_is_unpacked(web, home, monkeypatch, chunk, zeros, members):
    monkeypatch.setattr(download, '_CHUNK', chunk)
    web.pages['/song.txt'] = zeros.join([*map(gzip.compress, members), b''])
    web.headers = {'Content-Encoding': 'gzip'}
    assert fetch(remote_from_url(web.url('/song.txt'))).read_bytes() == b''.join(members)


@pytest.mark.parametrize('complete_members', [0, 1])
def test_incomplete_compressed_body_is_not_kept(web, home, complete_members):
    member = gzip.compress(BODY)
    web.pages['/song.txt'] = complete_members * member + member[:-9]
    web.headers = {'Content-Encoding': 'gzip'}
    assert 'incomplete' in _message(remote_from_url(web.url('/song.txt')))
    assert _kept(home) == []


@pytest.mark.parametrize('page', [b'<!DOCTYPE html><title>Log in</title>', b'\n<html lang="en">', b'<HTML>'])
def test_html_page_is_not_kept(web, home, page):
    web.pages['/song.zip'] = page
    message = _message(remote_from_url(web.url('/song.zip')))
    for part in (web.url('/song.zip'), 'HTML page', 'login', 'run the same command to fetch it again'):
        assert part in message
    assert _kept(home) == []


def test_file_that_the_check_refuses_is_not_kept(web, home):
    web.pages['/song.txt'] = BODY

    def refuse(path: pathlib.Path) -> None:
        raise InputError(f'{path} is bad.')

    with pytest.raises(InputError, match=re.escape(f'{web.url("/song.txt")} is bad. Nothing was kept;')):
        download.fetch(remote_from_url(web.url('/song.txt')), refuse)
    assert _kept(home) == []


def test_redirect_loop_is_one_line(web, home):
    web.pages['/song.txt'], web.headers = b'', {'Location': '/song.txt'}
    message = _message(remote_from_url(web.url('/song.txt')))
    assert 'infinite loop' in message
    assert '\n' not in message


def test_encoding_that_the_server_names_is_shown(web, home, capsys):
    web.pages['/song.txt'], web.headers = BODY, {'Content-Type': 'text/plain; charset=GB18030'}
    fetch(remote_from_url(web.url('/song.txt')))
    assert 'the server says that its encoding is gb18030' in capsys.readouterr().out


@pytest.mark.parametrize('value', [None, ''])
def test_default_data_home_is_in_the_cache_folder(tmp_path, monkeypatch, value):
    monkeypatch.delenv('CHARRNN_DATA_HOME', raising=False)
    if value is not None:
        monkeypatch.setenv('CHARRNN_DATA_HOME', value)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert data_home() == tmp_path / '.cache' / 'charrnn'
