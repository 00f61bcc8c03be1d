"""The page of the studio: what it shows is the model's, every field is checked, nothing is asked of anybody else."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest
from playwright import sync_api

from tests.conftest import ROOT
from tests.export.server.rest.studio.pages import (
    AWKWARD,
    LONG,
    by_generate,
    click_character,
    expect_status,
    generate,
    shaded,
    text,
)

_FILES = sorted(path.name for path in (ROOT / 'export/server/rest/studio').iterdir())


def test_text_and_perplexity_equal_the_signature_generate(studio, folders):
    knobs = {'length': 60, 'temperature': 1.5, 'top_k': 20, 'top_p': 0.95, 'seed': 11}
    page = studio(prefix='不分开', **knobs)
    expected, log_likelihood = by_generate(folders['charrnn'], '不分开', **knobs)
    assert generate(page) == expected
    assert page.inner_text('#count') == '60'
    assert page.inner_text('#perplexity') == f'{2.718281828459045 ** (-log_likelihood / 60):.2f}'
    assert re.fullmatch(r'version 1\s· .*24 characters', page.inner_text('#about'))


def test_text_ends_at_the_stop(studio, folders):
    knobs = {'length': 60, 'temperature': 1.5, 'stop': '开', 'seed': 11}
    page = studio(prefix='分开', **knobs)
    expected, _ = by_generate(folders['charrnn'], '分开', **knobs)
    assert generate(page) == expected
    assert expected.endswith('开')
    assert len(expected) < 62


def test_each_character_shows_its_probability_by_shade_number_and_key(studio):
    page = studio(prefix='分开', length=40, temperature=1.5, seed=2)
    generate(page)
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
        percent = float(re.fullmatch(r'"[<>]?([\d.]+)%"', one['name'])[1])
        lowest = [90, 50, 20, 5, 1, 0][int(one['level'][-1])]
        assert lowest - 0.5 <= percent
        colors.setdefault(one['level'], one['color'])
    assert len(set(colors.values())) == len(colors) > 3
    page.focus('#shades')
    page.keyboard.press('End')
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('ArrowLeft')
    assert 'character 40 of 42' in page.inner_text('#detail')
    assert re.search(r'U\+[0-9A-F]{4}: probability [\d.e-]+, [\d.]+ nats', page.inner_text('#detail'))
    page.uncheck('#numbers')
    page.focus('#text')
    page.keyboard.press('Control+Home')
    page.keyboard.press('ArrowRight')
    sync_api.expect(page.locator('#detail')).to_contain_text('character 2 of 42')


def test_awkward_characters_are_text_and_line_breaks_break_lines(studio, folders):
    knobs = {'length': 300, 'temperature': 3.0, 'seed': 4}
    page = studio(model='awkward', prefix="<b>'\n🎵", **knobs)
    expected, _ = by_generate(folders['awkward'], "<b>'\n🎵", **knobs)
    assert generate(page) == expected
    assert set(AWKWARD) <= set(expected)
    boxes = shaded(page)
    assert ''.join(one for one, _ in boxes) == expected
    assert {one for one, _ in boxes if '\u0301' in one} >= {'a\u0301'}  # a letter and its accent have one shade
    lines = page.locator('.line-break').count()
    height, line = page.locator('#text').evaluate(
        'element => [element.scrollHeight, parseFloat(getComputedStyle(element).lineHeight)]'
    )
    assert lines > 3
    assert height > line * lines


def test_shades_lie_behind_their_characters(studio):
    """The field and the boxes break the same lines, also after a line break at the end."""
    page = studio(model='awkward', prefix='ש', length=400, temperature=2.0)
    for end in ('', '\n', '\n\n', ' '):
        page.fill('#text', generate(page) + end)
        sizes = [page.locator(name).evaluate('e => [e.scrollHeight, e.clientWidth]') for name in ('#text', '#shades')]
        assert sizes[0] == sizes[1]


@pytest.mark.skipif(shutil.which('curl') is None, reason='needs curl')
@pytest.mark.parametrize(
    ('name', 'prefix'), [('charrnn', '不分开'), ('awkward', '\'\n"$&`!\\%{}'), ('awkward', "a'''b\u2028'")]
)
def test_copy_as_curl_gives_the_same_text_in_a_shell(studio, name, prefix):
    page = studio(model=name, prefix=prefix, length=50, temperature=1.5, top_k=12, top_p=0.9, seed=2**53 - 1)
    written = generate(page)
    page.click('#copy-curl')
    sync_api.expect(page.locator('#status')).to_contain_text('copied')
    command = page.evaluate('navigator.clipboard.readText()')
    answer = subprocess.run(['bash', '-c', command.replace('curl ', 'curl -sS ', 1)], capture_output=True, check=True)
    assert json.loads(answer.stdout)['predictions'][0]['text'] == written
    page.click('#copy-text')
    sync_api.expect(page.locator('#status')).to_contain_text('text is copied')
    assert page.evaluate('navigator.clipboard.readText()') == written


@pytest.mark.parametrize('stops', [False, True])
def test_copy_as_curl_asks_the_model_that_made_the_text(studio, url, stops):
    page = studio(prefix='分', length=LONG if stops else 5, temperature=1.0)
    page.click('#generate')
    if stops:  # by the choice of the other model
        sync_api.expect(page.locator('#shades [data-index="20"]')).to_be_attached()
    else:
        expect_status(page, 'Done')
    page.select_option('#model', 'awkward')
    sync_api.expect(page.locator('#count')).to_have_text('–')
    page.click('#undo')
    sync_api.expect(page.locator('#text')).to_have_value(re.compile('^分.'))
    sync_api.expect(page.locator('#shades [data-index]')).to_have_count(1)  # the shades are those of the other model
    page.click('#copy-curl')
    expect_status(page, 'copied')
    assert page.input_value('#curl').startswith(f"curl '{url}/v1/models/charrnn:predict'")


_WITHOUT_CLIPBOARD = """() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'));
}"""


@pytest.mark.parametrize('numbers', [False, True])
def test_text_is_selected_if_there_is_no_clipboard(studio, numbers):
    page = studio(prefix='分开', length=20, temperature=1.5, seed=3)
    written = generate(page)
    page.set_checked('#numbers', numbers)
    page.evaluate(_WITHOUT_CLIPBOARD)
    page.click('#copy-text')
    expect_status(page, 'The text is selected')
    assert page.evaluate('getSelection().toString()') == written


def test_field_shows_an_invalid_value_before_the_request(studio):
    page = studio(prefix='分囧', length=LONG + 1, temperature=-1, top_k=1.5, top_p=0, stop='\n', seed='')
    for name, message in {
        'text': '‘囧’ (U+56E7): not among the 24 characters that this model was trained on.',
        'length': 'Give a whole number from 0 to 100000.',
        'temperature': 'Give 0 (greedy) or more, below 3.4e38.',
        'top_k': 'Give a whole number, 0 (off) or more.',
        'top_p': 'Give a number above 0, at most 1 (off).',
        'stop': 'line break (U+000A): not among the 24 characters that this model was trained on.',
        'seed': 'Give a whole number from 0 to 9007199254740991.',
    }.items():
        sync_api.expect(page.locator(f'#{name}')).to_have_accessible_description(re.compile(re.escape(message)))
        assert page.locator(f'#{name}').get_attribute('aria-invalid') == 'true'
    page.click('#generate')
    sync_api.expect(page.locator('#text')).to_be_focused()
    page.fill('#text', '分')
    assert page.locator('#text-error').is_hidden()


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
    page.fill('#text', '囧')
    page.click('#generate')
    message = "prefix contains '囧' (U+56E7), which is not among the 24 characters this model was trained on"
    sync_api.expect(page.locator('#text-error')).to_have_text(message)
    expect_status(page, 'The model refuses the value of “Text”.')


def test_new_version_is_named(studio, url):
    page = studio(model='awkward', prefix='a')
    with urllib.request.urlopen(f'{url}/studio/model.json') as response:
        listed = json.load(response)
    page.route('**/studio/model.json', lambda route: route.fulfill(json=listed))
    for model in listed['models']:
        model['version'] = 2
    generate(page)
    assert 'version 2' in page.inner_text('#about')
    assert page.input_value('#model') == 'awkward'


def test_model_of_5000_characters(studio, folders):
    """Its continuation, its candidates and its reading of a text are as quick to look at."""
    page = studio(model='many', prefix='一丁', length=300, temperature=1.0, seed=3)
    assert generate(page) == by_generate(folders['many'], '一丁', 300, 1.0, seed=3)[0]
    assert '5,000 characters' in page.inner_text('#about')
    click_character(page, 100)
    sync_api.expect(page.locator('#candidates button')).to_have_count(8)
    page.click('#read')
    expect_status(page, 'Read: 301 characters')
    assert 4500 < float(page.inner_text('#perplexity')) < 5500  # it is untrained


def test_slow_server_is_waited_for_and_the_page_says_so(studio):
    page = studio(prefix='分')
    held = []
    page.route('**/v1/models/charrnn:generate_stream', lambda route: held.append(route))
    with page.expect_request('**/v1/models/charrnn:generate_stream'):
        page.click('#generate')
    expect_status(page, 'Waiting for the server…')
    sync_api.expect(page.locator('#stop-generating')).to_be_enabled()
    assert page.locator('#text').evaluate('e => e.readOnly')
    held[0].continue_()
    expect_status(page, 'Done')
    assert not page.locator('#text').evaluate('e => e.readOnly')


@pytest.mark.parametrize(('locale', 'label'), [('zh-CN', '生成'), ('fr', 'Generate')])
def test_page_speaks_the_language_of_the_browser_or_the_other(studio, locale, label):
    page = studio(locale=locale, prefix='分开囧')
    assert page.inner_text('#generate span') == label
    other = page.inner_text('#language')
    page.click('#language')
    assert page.inner_text('#language') != other
    assert page.inner_text('#generate span') != label
    error = page.inner_text('#text-error')
    page.reload()  # the choice is in the address
    sync_api.expect(page.locator('#generate')).to_be_enabled()
    assert page.inner_text('#generate span') != label
    assert page.inner_text('#text-error') == error != ''


def test_server_without_a_streaming_model_is_explained(browser, url):
    page = browser.new_page()
    page.route('**/studio/model.json', lambda route: route.fulfill(json={'models': []}))
    page.goto(url)
    sync_api.expect(page.locator('#status')).to_contain_text('No model that can stream is served. Export one')
    sync_api.expect(page.locator('#generate')).to_be_disabled()
    page.keyboard.press('Control+Enter')
    page.close()


@pytest.mark.parametrize(
    ('answer', 'message', 'other'),
    [
        ({'status': 502, 'body': 'Bad Gateway'}, 'The server answered HTTP 502. Bad Gateway', '本页。服务器返回'),
        ({'status': 403, 'json': {'error': 'this host is not allowed'}}, 'this host is not allowed', '本页。this host'),
        (None, 'The server does not answer. Is it running?', '本页。服务器没有应答'),
    ],
)
def test_list_that_cannot_be_loaded_is_explained_in_each_language(browser, url, answer, message, other):
    page = browser.new_page(locale='en-US')
    page.route('**/studio/model.json', lambda route: route.fulfill(**answer) if answer else route.abort())
    page.goto(url)
    expect_status(page, message)
    expect_status(page, 'Load this page again')
    for language in (other, message):
        page.click('#language')
        expect_status(page, language)
    page.close()


def test_page_keeps_its_models_if_the_server_has_none_for_now(studio):
    page = studio(prefix='分开', length=5)
    before = generate(page)
    page.route('**/studio/model.json', lambda route: route.fulfill(json={'models': []}))
    page.click('#generate')
    expect_status(page, 'No model that can stream is served')
    page.unroute('**/studio/model.json')
    page.click('#undo')
    sync_api.expect(page.locator('#text')).to_have_value('分开')
    page.click('#redo')
    sync_api.expect(page.locator('#text')).to_have_value(before)


def test_address_has_the_settings(studio):
    fields = {'prefix': "分\n#&'", 'length': '7', 'temperature': '0.5', 'top_k': '3', 'top_p': '0.5', 'seed': '9'}
    fields |= {'stop': '\n"', 'lang': 'zh-Hans'}
    page = studio(model='awkward', **fields)
    page.click('#dice')
    page.fill('#length', '8')
    page.press('#length', 'Tab')
    seed = page.input_value('#seed')
    page.reload()
    sync_api.expect(page.locator('#generate')).to_be_enabled()
    prefix, lang = fields.pop('prefix'), fields.pop('lang')
    found = {name: page.input_value(f'#{name}') for name in fields}
    assert found == fields | {'length': '8', 'seed': seed}
    assert text(page) == prefix
    assert page.evaluate('document.documentElement.lang') == lang
    assert page.locator('#model').evaluate('element => element.selectedOptions[0].label') == 'awkward'
    assert seed != '9'


def test_address_leads_to_the_same_text(studio):
    page = studio(prefix='分开', length=9, temperature=1.5, seed=3)
    generate(page)
    whole = generate(page)
    page.reload()
    sync_api.expect(page.locator('#text')).to_have_value(whole[:11])
    assert generate(page) == whole


def test_other_model_gets_its_example_or_the_text_that_it_can_read(studio):
    page = studio()
    example = text(page)
    written = generate(page)
    page.select_option('#model', 'awkward')
    page.wait_for_function('before => document.getElementById("text").value !== before', arg=written)
    assert text(page) in AWKWARD
    assert page.locator('#text-error').is_hidden()
    assert (page.inner_text('#count'), page.inner_text('#status')) == ('–', '')
    page.fill('#text', 'abc')
    page.select_option('#model', 'charrnn')
    sync_api.expect(page.locator('#text')).to_have_value(example)
    page.fill('#text', '  ')  # both models have the space
    page.click('#read')
    expect_status(page, 'Read: 1 character')
    page.select_option('#model', 'awkward')
    sync_api.expect(page.locator('#shades .own')).to_have_count(1)  # the shades were those of the other model
    assert text(page) == '  '
    while text(page) != written:  # nothing is lost
        page.click('#undo')


@pytest.mark.parametrize('width', [360, 1200])
def test_detail_and_mark_stay_in_sight_and_the_page_follows_the_stream(studio, width):
    page = studio(width=width, prefix='分', length=800, temperature=1.0)
    generate(page)
    in_sight = 'e => { const r = e.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; }'
    assert page.evaluate('scrollY') > 0
    assert page.locator('#status').evaluate(in_sight)
    for numbers, place in ((False, '#text'), (True, '#shades')):
        page.set_checked('#numbers', numbers)
        page.focus(place)
        for key, arrow, index in (('Home', 'ArrowRight', 1), ('End', 'ArrowLeft', 799 if numbers else 800)):
            page.keyboard.press(key if numbers else f'Control+{key}')
            page.keyboard.press(arrow)
            sync_api.expect(page.locator('.current')).to_have_attribute('data-index', str(index))
            assert page.locator('.current').evaluate(in_sight), key
            assert page.locator('#detail').evaluate(in_sight), key
            mark, detail = (page.locator(name).bounding_box() for name in ('.current', '.detail'))
            assert mark['y'] + mark['height'] <= detail['y'], key


def test_page_does_not_follow_a_reader_who_scrolled_up(studio):
    page = studio(prefix='分', length=3000, temperature=1.0)
    page.click('#generate')
    page.wait_for_selector('[data-index="700"]', state='attached')
    page.evaluate('scrollTo(0, 0)')
    page.wait_for_selector('[data-index="900"]', state='attached')
    assert page.evaluate('scrollY') == 0


def test_left_arrow_goes_forward_in_right_to_left_text(studio):
    page = studio(model='awkward', prefix='ש', length=30, temperature=1.0)
    generate(page)
    page.check('#numbers')
    page.focus('#shades')
    page.keyboard.press('Home')
    page.keyboard.press('ArrowLeft')
    assert 'character 2 of 31' in page.inner_text('#detail')
    page.keyboard.press('ArrowRight')
    assert 'character 1 of 31' in page.inner_text('#detail')


def test_number_of_a_line_break_stands_before_the_break(studio):
    page = studio(model='awkward', prefix='a', length=200, temperature=3.0, seed=4)
    generate(page)
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
    assert len(text(page)) > 1
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
    sync_api.expect(page.locator('#text-error')).to_contain_text(message)


def test_other_normal_form_is_a_hint(studio, url):
    page = studio(prefix='分')
    _list_one_more_character(page, url, 'é')
    page.fill('#text', 'e\u0301')
    sync_api.expect(page.locator('#text-error')).to_contain_text('the model knows the other one (NFC)')


@pytest.mark.parametrize('width', [360, 1200])
def test_page_does_not_jump_when_the_model_is_known(browser, url, width):
    page = browser.new_page(viewport={'width': width, 'height': 800})
    held = []
    page.route('**/studio/model.json', lambda route: held.append(route))
    with page.expect_request('**/studio/model.json'):
        page.goto(url)
    sync_api.expect(page.locator('#legend li').first).to_be_attached()
    before = page.locator('#text').bounding_box()
    held[0].continue_()
    sync_api.expect(page.locator('#generate')).to_be_enabled()
    assert page.locator('#text').bounding_box() == before
    page.close()


def test_fits_a_phone(studio):
    """With a long word too, which has no place to break."""
    page = studio(width=360, model='awkward', prefix='abc' * 40, length=200, temperature=1)
    generate(page)
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
    const drawn = (e) => e.checkVisibility() && channels(getComputedStyle(e).color)[3] !== 0;
    return [...document.querySelectorAll('body *')].filter((e) => drawn(e) && written(e)).map((e) => {
        const [high, low] = [getComputedStyle(e).color, ground(e)].map(luminance).sort((a, b) => b - a);
        return [`${e.tagName} ${e.id} ${e.className}`, (high + 0.05) / (low + 0.05)];
    });
}"""


@pytest.mark.parametrize('color_scheme', ['light', 'dark'])
def test_all_text_is_readable_on_its_ground(studio, color_scheme):
    """WCAG's 4.5 for every text on the page, on each shade, and of errors."""
    page = studio(color_scheme=color_scheme, prefix='分开', length=300, temperature=1.5)
    generate(page)
    page.click('#three')
    expect_status(page, 'Choose')
    page.check('#numbers')
    page.click('#copy-curl')
    found = page.evaluate(_CONTRASTS)
    assert {f'SPAN  level-{n}' for n in range(1, 6)} <= {name.strip() for name, _ in found}
    page.uncheck('#numbers')
    page.click('text=Choose 1')
    expect_status(page, 'Done')
    click_character(page, 5)
    sync_api.expect(page.locator('#candidates')).to_be_visible()
    page.fill('#temperature', '0')
    found += page.evaluate(_CONTRASTS)
    page.fill('#text', '囧')
    found += page.evaluate(_CONTRASTS)
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
