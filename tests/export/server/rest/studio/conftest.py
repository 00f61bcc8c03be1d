"""The studio of a server in this process, in a real browser."""

import functools
import http.server
import pathlib
import shutil
import threading
import urllib.parse

import pytest
from playwright import sync_api

from data.vocabulary import Vocabulary
from export.artifact.exporter import export
from pipeline.config import ModelConfig
from pipeline.limits import Limits
from pipeline.model import CharRNN
from tests.conftest import ROOT
from tests.export.server.in_process import serve
from tests.export.server.rest.studio.pages import AWKWARD, LONG, MAX_PREFIX, PLACES

# The first takes a third of the CPU of the second.
_NAMES = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome')
_CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope='session')
def folders(model, vocabulary, written_once):
    """A model on the tests' text, whose continuations may be very long, one on awkward characters, one on 5,000."""
    awkward = Vocabulary(''.join(sorted(AWKWARD)))
    wild = CharRNN(ModelConfig(hidden_size=8, init_scale=0.5), len(awkward), seed=5)
    many = Vocabulary(''.join(map(chr, range(0x4E00, 0x4E00 + 5000))))

    def write(folder: pathlib.Path) -> None:
        export(model, vocabulary, folder / 'charrnn', 20, Limits(max_length=LONG))
        export(wild, awkward, folder / 'awkward', 20, Limits(max_prefix=MAX_PREFIX, max_length=1000))
        export(CharRNN(ModelConfig(hidden_size=8), len(many), seed=5), many, folder / 'many', 20)

    folder = written_once('studio', write)
    return {name: folder / name for name in ('charrnn', 'awkward', 'many')}


@pytest.fixture(scope='session')
def url(folders):
    with serve(folders, max_concurrent_requests=PLACES) as url:
        yield url


@pytest.fixture(scope='session')
def browser():
    if _CHROMIUM is None:
        pytest.skip('needs Chromium on the PATH')
    sync_api.expect.set_options(timeout=60_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture(scope='session')
def files_url():
    """Serves the files of the page alone, for its pure functions."""
    handler = functools.partial(_QuietHandler, directory=ROOT / 'export/server/rest')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/studio/icon.svg'
        server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def studio(browser, url):
    """Opens the page with the fields given in its address; at the end nothing may have gone wrong in it, unseen."""
    contexts, problems, hosts = [], [], set()

    def open_page(width=1200, color_scheme='light', locale='en-US', **fields):
        context = browser.new_context(
            viewport={'width': width, 'height': 800}, color_scheme=color_scheme, locale=locale
        )
        contexts.append(context)
        context.grant_permissions(['clipboard-read', 'clipboard-write'])
        page = context.new_page()
        page.on('console', lambda message: problems.append(message.text))
        page.on('pageerror', lambda error: problems.append(str(error)))
        context.on('request', lambda request: hosts.add(urllib.parse.urlsplit(request.url).netloc))
        page.goto(f'{url}/#{urllib.parse.urlencode(fields)}')
        page.wait_for_selector('#generate:enabled')
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert hosts == {urllib.parse.urlsplit(url).netloc}
    refusals = ('status of 400', 'status of 503')  # the browser reports these by itself
    assert [problem for problem in problems if not any(one in problem for one in refusals)] == []
