"""The studio in a real browser: its text is the model's, every key works, nothing is asked of anybody else."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest
import tensorflow as tf

from data.vocabulary import Vocabulary
from export.artifact.exporter import export
from pipeline.config import ModelConfig
from pipeline.limits import Limits
from pipeline.model import CharRNN
from tests.conftest import ROOT
from tests.export.server.in_process import serve

_CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))), None)
sync_api = pytest.importorskip('playwright.sync_api', reason='needs playwright, of the extra dev')
pytestmark = [pytest.mark.slow, pytest.mark.skipif(_CHROMIUM is None, reason='needs Chromium on the PATH')]

# What a page, a shell and JSON take for more than a letter: quotes, markup, escapes, a line break, a wide character,
# Arabic, a combining accent, a line separator.
AWKWARD = '\n "$&\'\\`!<>{}%#abcשםلا\u0301\u2028🎵吧'
LONG = 100_000
PLACES = 3
_FILES = sorted(path.name for path in (ROOT / 'export/server/rest/studio').iterdir())


@pytest.fixture(scope='module')
def folders(model, vocabulary, tmp_path_factory):
    """A model on the tests' text, whose continuations may be very long, and one on awkward characters."""
    place = tmp_path_factory.mktemp('models')
    awkward = Vocabulary(''.join(sorted(AWKWARD)))
    wild = CharRNN(ModelConfig(hidden_size=8, init_scale=0.5), len(awkward), seed=5)
    export(model, vocabulary, place / 'charrnn', default_length=20, limits=Limits(max_length=LONG))
    export(wild, awkward, place / 'awkward', default_length=20)
    return {name: place / name for name in ('charrnn', 'awkward')}


@pytest.fixture(scope='module')
def url(folders):
    with serve(folders, max_concurrent_requests=PLACES) as url:
        yield url


@pytest.fixture(scope='module')
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def studio(browser, url):
    """Opens the page with the fields given in its address; at the end nothing may have gone wrong in it, unseen."""
    context = browser.new_context()
    context.grant_permissions(['clipboard-read', 'clipboard-write'])
    page = context.new_page()
    problems, hosts = [], set()
    page.on('console', lambda message: problems.append(message.text))
    page.on('pageerror', lambda error: problems.append(str(error)))
    context.on('request', lambda request: hosts.add(urllib.parse.urlsplit(request.url).netloc))

    def open_page(width=1200, color_scheme='light', **fields):
        page.set_viewport_size({'width': width, 'height': 800})
        page.emulate_media(color_scheme=color_scheme)
        page.goto(f'{url}/#{urllib.parse.urlencode(fields)}')
        sync_api.expect(page.locator('#generate')).to_be_enabled()
        return page

    yield open_page
    context.close()
    assert hosts == {urllib.parse.urlsplit(url).netloc}
    assert [p for p in problems if 'status of 400' not in p] == []  # the browser reports a refusal by itself


def _generate(page) -> str:
    """Clicks, waits for the end, and returns the text on the page."""
    page.click('#generate')
    sync_api.expect(page.locator('#status')).to_contain_text('Done')
    return _text(page)


def _text(page) -> str:
    return page.locator('#text').evaluate('element => element.textContent')


def _by_signature(folder, prefix, length, temperature=0.0, top_k=0, top_p=1.0, stop='', seed=0) -> tuple[str, float]:
    answer = tf.saved_model.load(str(folder / '1')).signatures['generate'](
        prefix=tf.constant([prefix]),
        length=tf.constant([length]),
        temperature=tf.constant([temperature]),
        top_k=tf.constant([top_k]),
        top_p=tf.constant([top_p]),
        stop=tf.constant([stop]),
        seed=tf.constant([seed], tf.int64),
    )
    return answer['text'].numpy()[0].decode(), float(answer['log_likelihood'].numpy()[0])


def test_text_and_perplexity_equal_the_signature_generate(studio, folders):
    knobs = {'length': 60, 'temperature': 1.5, 'top_k': 20, 'top_p': 0.95, 'seed': 11}
    page = studio(prefix='不分开', **knobs)
    text, log_likelihood = _by_signature(folders['charrnn'], '不分开', **knobs)
    assert _generate(page) == text
    assert page.inner_text('#count') == '60'
    assert page.inner_text('#perplexity') == f'{2.718281828459045 ** (-log_likelihood / 60):.2f}'
    assert re.fullmatch(r'version 1\s· .*24 characters', page.inner_text('#about'))


def test_text_ends_at_the_stop(studio, folders):
    knobs = {'length': 60, 'temperature': 1.5, 'stop': '开', 'seed': 11}
    page = studio(prefix='分开', **knobs)
    text, _ = _by_signature(folders['charrnn'], '分开', **knobs)
    assert _generate(page) == text
    assert text.endswith('开')
    assert len(text) < 62


def test_each_character_shows_its_probability_by_shade_number_and_key(studio):
    page = studio(prefix='分开', length=40, temperature=1.5, seed=2)
    _generate(page)
    page.check('#numbers')
    shown = page.locator('[data-probability]').evaluate_all(
        """all => all.map(one => ({
            name: getComputedStyle(one, '::after').content,
            level: one.className,
            color: getComputedStyle(one).backgroundColor,
        }))"""
    )
    assert len(shown) == 40
    colors = {}
    for one in shown:
        percent = float(re.fullmatch(r'"<?([\d.]+)%"', one['name'])[1])
        lowest = [90, 50, 20, 5, 1, 0][int(one['level'][-1])]
        assert lowest - 0.5 <= percent
        colors.setdefault(one['level'], one['color'])
    assert len(set(colors.values())) == len(colors) > 3
    page.focus('#text')
    page.keyboard.press('End')
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('ArrowLeft')
    assert 'character 38 of 40' in page.inner_text('#detail')
    assert re.search(r'U\+[0-9A-F]{4}: probability [\d.e-]+, [\d.]+ nats', page.inner_text('#detail'))


def test_awkward_characters_are_text_and_line_breaks_break_lines(studio, folders):
    knobs = {'length': 300, 'temperature': 3.0, 'seed': 4}
    page = studio(model='awkward', prefix="<b>'\n🎵", **knobs)
    text, _ = _by_signature(folders['awkward'], "<b>'\n🎵", **knobs)
    assert _generate(page) == text
    assert set(AWKWARD) <= set(text)
    lines = page.locator('.line-break').count()
    height, line = page.locator('#text').evaluate(
        'element => [element.scrollHeight, parseFloat(getComputedStyle(element).lineHeight)]'
    )
    assert lines > 3
    assert height > line * lines


@pytest.mark.skipif(shutil.which('curl') is None, reason='needs curl')
@pytest.mark.parametrize(
    ('name', 'prefix'), [('charrnn', '不分开'), ('awkward', '\'\n"$&`!\\%{}'), ('awkward', "a'''b\u2028'")]
)
def test_copy_as_curl_gives_the_same_text_in_a_shell(studio, name, prefix):
    page = studio(model=name, prefix=prefix, length=50, temperature=1.5, top_k=12, top_p=0.9, seed=2**53 - 1)
    text = _generate(page)
    page.click('#copy-curl')
    sync_api.expect(page.locator('#status')).to_contain_text('copied')
    command = page.evaluate('navigator.clipboard.readText()')
    answer = subprocess.run(['bash', '-c', command.replace('curl ', 'curl -sS ', 1)], capture_output=True, check=True)
    assert json.loads(answer.stdout)['predictions'][0]['text'] == text
    page.click('#copy-text')
    sync_api.expect(page.locator('#status')).to_contain_text('text is copied')
    assert page.evaluate('navigator.clipboard.readText()') == text


def test_stop_ends_the_stream_here_and_at_the_server(studio):
    """There it gives its place back: with as many as the server has, the last would be refused."""
    page = studio(prefix='分', length=LONG, temperature=1)
    for n, stop in enumerate([lambda: page.click('#stop-generating'), lambda: page.keyboard.press('Escape')] * PLACES):
        page.fill('#prefix', '分' * (n + 1))
        page.click('#generate')
        sync_api.expect(page.locator('.given')).to_have_text('分' * (n + 1))  # the text before has gone
        sync_api.expect(page.locator('[data-index="9"]')).to_be_attached()
        stop()
        sync_api.expect(page.locator('#status')).to_have_text(re.compile(r'Stopped after \d+ characters'))
        assert 10 <= int(page.inner_text('#status').split()[2]) == page.locator('[data-index]').count() < LONG
        sync_api.expect(page.locator('#stop-generating')).to_be_disabled()
    page.fill('#length', '3')
    assert len(_generate(page)) == 2 * PLACES + 3


def test_works_with_the_keyboard_alone(studio, folders, vocabulary):
    """The page opens in the prefix; Tab goes through what can be set, in the order in which it is seen."""
    page = studio()
    assert page.input_value('#prefix') in vocabulary.characters  # something to try, and selected: typing replaces it
    page.keyboard.type('分开')
    page.keyboard.press('Control+Enter')
    sync_api.expect(page.locator('#status')).to_contain_text('Done')
    assert _text(page) == _by_signature(folders['charrnn'], '分开', 20, temperature=0.8, seed=1)[0]
    visited = []
    for _ in range(13):
        visited.append(page.evaluate('document.activeElement.id'))
        outline = page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
        assert outline == 'solid', visited
        page.keyboard.press('Tab')
    knobs = ['length', 'temperature', 'top_k', 'top_p', 'stop', 'seed', 'dice']
    assert visited == ['prefix', 'generate', 'text', 'numbers', 'copy-text', 'copy-curl', *knobs]
    page.focus('#temperature')
    page.keyboard.press('Control+A')
    page.keyboard.type('0')
    sync_api.expect(page.locator('#greedy')).to_be_visible()
    page.keyboard.press('Enter')
    sync_api.expect(page.locator('#status')).to_contain_text('Done')
    sync_api.expect(page.locator('#text')).to_have_text(_by_signature(folders['charrnn'], '分开', 20)[0])


def test_field_shows_an_invalid_value_before_the_request(studio):
    page = studio(prefix='分囧', length=LONG + 1, temperature=-1, top_k=1.5, top_p=0, stop='\n', seed='')
    for name, message in {
        'prefix': '‘囧’ (U+56E7): not among the 24 characters this model was trained on.',
        'length': 'Give a whole number from 0 to 100000.',
        'temperature': 'Give 0 (greedy) or more, below 3.4e38.',
        'top_k': 'Give a whole number, 0 (off) or more.',
        'top_p': 'Give a number above 0, at most 1 (off).',
        'stop': 'line break (U+000A): not among the 24 characters this model was trained on.',
        'seed': 'Give a whole number from 0 to 9007199254740991.',
    }.items():
        sync_api.expect(page.locator(f'#{name}')).to_have_accessible_description(re.compile(re.escape(message)))
        assert page.locator(f'#{name}').get_attribute('aria-invalid') == 'true'
    page.click('#generate')
    sync_api.expect(page.locator('#prefix')).to_be_focused()
    page.fill('#prefix', '分')
    assert page.locator('#prefix-error').is_hidden()


def _list_one_more_character(page, url, character):
    """Loads the page again, which learns of a first model that knows one character more than the server's."""
    with urllib.request.urlopen(f'{url}/studio/model.json') as response:
        listed = json.load(response)
    listed['models'][0]['vocabulary'] += character
    page.route('**/studio/model.json', lambda route: route.fulfill(json=listed))
    page.reload()
    sync_api.expect(page.locator('#generate')).to_be_enabled()


def test_error_of_the_server_is_shown_beside_its_field(studio, url):
    page = studio(prefix='分')
    _list_one_more_character(page, url, '囧')
    page.fill('#prefix', '囧')
    page.click('#generate')
    message = "prefix contains '囧' (U+56E7), which is not among the 24 characters this model was trained on"
    sync_api.expect(page.locator('#prefix-error')).to_have_text(message)
    sync_api.expect(page.locator('#status')).to_have_text('The model refuses this prefix.')


def test_new_version_is_named(studio, url):
    page = studio(model='awkward', prefix='a')
    with urllib.request.urlopen(f'{url}/studio/model.json') as response:
        listed = json.load(response)
    page.route('**/studio/model.json', lambda route: route.fulfill(json=listed))
    for model in listed['models']:
        model['version'] = 2
    _generate(page)
    assert 'version 2' in page.inner_text('#about')
    assert page.input_value('#model') == 'awkward'


def test_server_without_a_streaming_model_is_explained(browser, url):
    page = browser.new_page()
    page.route('**/studio/model.json', lambda route: route.fulfill(json={'models': []}))
    page.goto(url)
    sync_api.expect(page.locator('#status')).to_contain_text('No model that can stream is served. Export one')
    sync_api.expect(page.locator('#generate')).to_be_disabled()
    page.keyboard.press('Control+Enter')
    page.close()


def test_address_has_the_settings(studio):
    fields = {'prefix': "分\n#&'", 'length': '7', 'temperature': '0.5', 'top_k': '3', 'top_p': '0.5', 'seed': '9'}
    fields['stop'] = '\n"'
    page = studio(model='awkward', **fields)
    page.click('#dice')
    page.fill('#length', '8')
    page.press('#length', 'Tab')
    seed = page.input_value('#seed')
    page.reload()
    sync_api.expect(page.locator('#generate')).to_be_enabled()
    found = {name: page.input_value(f'#{name}') for name in fields}
    assert found == fields | {'length': '8', 'seed': seed}
    assert page.locator('#model').evaluate('element => element.selectedOptions[0].label') == 'awkward'
    assert seed != '9'


def test_other_model_gets_its_example_or_the_prefix_that_it_can_read(studio):
    page = studio()
    example = page.input_value('#prefix')
    _generate(page)
    page.select_option('#model', 'awkward')
    assert page.input_value('#prefix') in AWKWARD
    assert page.locator('#prefix-error').is_hidden()
    assert (_text(page), page.inner_text('#count'), page.inner_text('#status')) == ('', '–', '')
    sync_api.expect(page.locator('#copy-text')).to_be_disabled()
    page.fill('#prefix', 'abc')
    page.select_option('#model', 'charrnn')
    assert page.input_value('#prefix') == example
    page.fill('#prefix', '  ')  # both models have the space
    page.select_option('#model', 'awkward')
    assert page.input_value('#prefix') == '  '


@pytest.mark.parametrize('width', [360, 1200])
def test_detail_and_mark_stay_in_sight_and_the_page_follows_the_stream(studio, width):
    page = studio(width=width, prefix='分', length=800, temperature=1.0)
    _generate(page)
    in_sight = 'e => { const r = e.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; }'
    assert page.evaluate('scrollY') > 0
    assert page.locator('[data-index="799"]').evaluate(in_sight)
    page.focus('#text')
    for key in ('Home', 'End'):
        page.keyboard.press(key)
        assert page.locator('.current').evaluate(in_sight), key
        assert page.locator('#detail').evaluate(in_sight), key
        mark, detail = (page.locator(name).bounding_box() for name in ('.current', '#detail'))
        assert mark['y'] + mark['height'] <= detail['y'], key


def test_page_does_not_follow_a_reader_who_scrolled_up(studio):
    page = studio(prefix='分', length=LONG, temperature=1.0)
    page.click('#generate')
    sync_api.expect(page.locator('[data-index="700"]')).to_be_attached()
    page.evaluate('scrollTo(0, 0)')
    sync_api.expect(page.locator('[data-index="900"]')).to_be_attached()
    assert page.evaluate('scrollY') == 0
    page.click('#stop-generating')


def test_left_arrow_goes_forward_in_right_to_left_text(studio):
    page = studio(model='awkward', prefix='ש', length=30, temperature=1.0)
    _generate(page)
    page.focus('#text')
    page.keyboard.press('Home')
    page.keyboard.press('ArrowLeft')
    assert 'character 2 of 30' in page.inner_text('#detail')
    page.keyboard.press('ArrowRight')
    assert 'character 1 of 30' in page.inner_text('#detail')


def test_number_of_a_line_break_stands_before_the_break(studio):
    page = studio(model='awkward', prefix='a', length=200, temperature=3.0, seed=4)
    _generate(page)
    page.check('#numbers')
    before, after = page.locator('.line-break').first.evaluate(
        "e => ['::before', '::after'].map((part) => getComputedStyle(e, part).content)"
    )
    assert re.fullmatch(r'"↵ "? ?"?<?[\d.]+%"', before)
    assert after == 'none'


_BREAKS_AFTER_THREE_PIECES = """() => {
    const original = window.fetch;
    window.fetch = async (...all) => {
        const response = await original(...all);
        if (!String(all[0]).includes('generate_stream')) return response;
        const reader = response.body.getReader();
        let count = 0;
        const pull = async (controller) => {
            if (count++ < 3) controller.enqueue((await reader.read()).value);
            else controller.error(new TypeError('network error'));
        };
        return new Response(new ReadableStream({ pull }), response);
    };
}"""


def test_text_that_a_dead_server_cuts_off_is_called_that(studio):
    page = studio(prefix='分', length=LONG, temperature=1.0)
    page.evaluate(_BREAKS_AFTER_THREE_PIECES)
    page.click('#generate')
    sync_api.expect(page.locator('#status')).to_have_text('The text is cut off: the connection to the server broke.')
    assert len(_text(page)) > 1
    page.reload()  # ends the request


@pytest.mark.parametrize(
    ('prefix', 'message'),
    [
        ('分\u200b', 'zero width space (U+200B): not among'),
        ('分\u0301', 'combining mark ‘◌\u0301’ (U+0301): not among'),
        ('分\ue000', 'invisible character (U+E000): not among'),
    ],
)
def test_invisible_character_is_named(studio, prefix, message):
    page = studio(prefix=prefix)
    sync_api.expect(page.locator('#prefix-error')).to_contain_text(message)


def test_other_normal_form_is_a_hint(studio, url):
    page = studio(prefix='分')
    _list_one_more_character(page, url, 'é')
    page.fill('#prefix', 'e\u0301')
    sync_api.expect(page.locator('#prefix-error')).to_contain_text('the model knows the other one (NFC)')


@pytest.mark.parametrize('width', [360, 1200])
def test_page_does_not_jump_when_the_model_is_known(browser, url, width):
    page = browser.new_page(viewport={'width': width, 'height': 800})
    held = []
    page.route('**/studio/model.json', lambda route: held.append(route))
    with page.expect_request('**/studio/model.json'):
        page.goto(url)
    sync_api.expect(page.locator('#legend li').first).to_be_attached()
    before = page.locator('#prefix').bounding_box()
    held[0].continue_()
    sync_api.expect(page.locator('#generate')).to_be_enabled()
    assert page.locator('#prefix').bounding_box() == before
    page.close()


def test_fits_a_phone(studio):
    """With a long word too, which has no place to break."""
    page = studio(width=360, model='awkward', prefix='abc' * 40, length=200, temperature=1)
    _generate(page)
    page.check('#numbers')
    page.click('#copy-curl')
    assert page.evaluate('document.documentElement.scrollWidth') == 360
    right_edges = page.locator('body *').evaluate_all('all => all.map(e => e.getBoundingClientRect().right)')
    assert max(right_edges) <= 360


_CONTRASTS = """() => {
    const channels = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => channels(color).slice(0, 3).map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
    const opaque = (color) => (channels(color)[3] ?? 1) === 1;
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const color = getComputedStyle(e).backgroundColor;
            if (opaque(color)) return color;
        }
        return 'rgb(255, 0, 255)';
    };
    const written = (e) => e.value || [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && written(e)).map((e) => {
        const [high, low] = [getComputedStyle(e).color, ground(e)].map(luminance).sort((a, b) => b - a);
        return [`${e.tagName} ${e.id} ${e.className}`, (high + 0.05) / (low + 0.05)];
    });
}"""


@pytest.mark.parametrize('color_scheme', ['light', 'dark'])
def test_all_text_is_readable_on_its_ground(studio, color_scheme):
    """WCAG's 4.5 for every text on the page, on each shade, and of errors."""
    page = studio(color_scheme=color_scheme, prefix='分开', length=300, temperature=1.5)
    _generate(page)
    page.click('#copy-curl')
    page.fill('#temperature', '0')
    page.fill('#prefix', '囧')
    found = page.evaluate(_CONTRASTS)
    assert {f'SPAN  level-{n}' for n in range(1, 6)} <= {name.strip() for name, _ in found}
    assert [(name, ratio) for name, ratio in found if ratio < 4.5] == []
    ground = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (max(map(int, re.findall(r'\d+', ground))) < 64) == (color_scheme == 'dark')


@pytest.mark.parametrize('path', ['studio', 'studio/'])
def test_address_of_the_files_leads_to_the_page(url, path):
    """By a relative location, which keeps the path of a reverse proxy."""
    with urllib.request.urlopen(f'{url}/{path}') as response:
        assert response.url == f'{url}/'


@pytest.mark.parametrize('name', ['', *(f'studio/{name}' for name in (*_FILES, 'model.json'))])
def test_page_loads_nothing_from_other_hosts(url, name):
    with urllib.request.urlopen(f'{url}/{name}') as response:
        assert "default-src 'self'" in response.headers['Content-Security-Policy']
        assert response.headers['X-Content-Type-Options'] == 'nosniff'
        assert not re.search(rb'https?://(?!www\.w3\.org)', response.read())
