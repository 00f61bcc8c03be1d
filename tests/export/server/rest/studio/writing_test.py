"""Writing with the studio: continue, vary, branch, choose, read, undo; by mouse and by keyboard."""

import math
import re

import pytest
from playwright import sync_api

from tests.export.server.rest.studio.pages import (
    AWKWARD,
    LONG,
    MAX_PREFIX,
    PLACES,
    by_generate,
    by_score,
    click_character,
    expect_status,
    generate,
    level,
    shaded,
    text,
)


def test_generate_continues_from_the_text_as_it_stands(studio, folders):
    knobs = {'length': 8, 'temperature': 1.5, 'seed': 11}
    page = studio(prefix='不分开', **knobs)
    first, _ = by_generate(folders['charrnn'], '不分开', **knobs)
    assert generate(page) == first
    second, _ = by_generate(folders['charrnn'], first, **knobs)
    assert generate(page) == second
    page.fill('#text', second[:-3] + '山')
    assert generate(page) == by_generate(folders['charrnn'], second[:-3] + '山', **knobs)[0]


def test_another_draws_a_new_seed_for_the_last_continuation(studio, folders):
    page = studio(prefix='分开', length=20, temperature=1.5, seed=3)
    first = generate(page)
    for _ in range(2):
        page.click('#another')
        expect_status(page, 'Done')
        seed = int(page.input_value('#seed'))
        assert seed != 3
        assert text(page) == by_generate(folders['charrnn'], '分开', 20, 1.5, seed=seed)[0] != first
    page.fill('#temperature', '0')  # greedy: all seeds give one text
    sync_api.expect(page.locator('#another')).to_be_disabled()
    sync_api.expect(page.locator('#three')).to_be_disabled()


def test_undo_and_redo_go_through_all_texts_of_the_visit(studio):
    page = studio(prefix='分开', length=10, temperature=1.5, seed=3)
    texts = ['分开', generate(page)]
    for _ in range(2):
        page.click('#another')
        expect_status(page, 'Done')
        texts.append(text(page))
    page.focus('#text')
    page.keyboard.press('Control+End')
    page.keyboard.type('山一')
    texts.append(text(page))
    assert texts[-1] == texts[-2] + '山一'
    for expected in reversed(texts[:-1]):  # the two typed characters are one step
        page.keyboard.press('Control+z')
        sync_api.expect(page.locator('#text')).to_have_value(expected)
    sync_api.expect(page.locator('#undo')).to_be_disabled()
    for expected in texts[1:]:
        page.keyboard.press('Control+Shift+z')
        sync_api.expect(page.locator('#text')).to_have_value(expected)
    sync_api.expect(page.locator('#redo')).to_be_disabled()


def test_texts_that_were_undone_are_not_lost_by_a_new_one(studio):
    page = studio(prefix='分开', length=10, temperature=1.5, seed=3)
    first = generate(page)
    second = generate(page)
    page.click('#undo')
    page.click('#undo')
    sync_api.expect(page.locator('#text')).to_have_value('分开')
    page.click('#another')
    expect_status(page, 'Done')
    seen = []
    while page.locator('#undo').is_enabled():
        page.click('#undo')
        page.wait_for_function('before => document.getElementById("text").value !== before', arg=(seen or [''])[-1])
        seen.append(text(page))
    assert seen == ['分开', second, first, '分开']


def test_undo_brings_back_the_shades_too(studio):
    page = studio(prefix='分开', length=10, temperature=1.5, seed=3)
    generate(page)
    before = shaded(page)
    generate(page)
    page.click('#undo')
    sync_api.expect(page.locator('#shades [data-index]')).to_have_count(11)  # the prefix is one box
    assert shaded(page) == before


def test_candidates_are_the_likely_characters_and_one_begins_a_branch(studio, folders):
    page = studio(prefix='分开', length=12, temperature=1.5, seed=3)
    whole = generate(page)
    click_character(page, 7)
    sync_api.expect(page.locator('#candidates')).to_be_visible()
    sync_api.expect(page.locator('#detail')).to_contain_text('character 8 of 14')
    found = page.locator('#candidates button').evaluate_all('all => all.map(e => e.getAttribute("aria-label"))')
    assert len(found) == 8
    for label in found:
        character, percent = re.fullmatch(r'Continue with (.+), [<>]?([\d.]+)%', label).groups()
        character = {'space': ' '}.get(character, character.strip('‘’'))
        log_p = by_score(folders['charrnn'], whole[:7] + character)[-1]
        assert float(percent) == pytest.approx(100 * math.exp(log_p), abs=0.51)
    label = page.locator('#candidates button').nth(3)
    character = {'space': ' '}.get(label.locator('span').inner_text(), label.locator('span').inner_text())
    label.click()
    expect_status(page, 'Done')
    branch, _ = by_generate(folders['charrnn'], whole[:7] + character, 12, 1.5, seed=3)
    assert text(page) == branch
    assert page.locator('#shades [data-index="7"]').get_attribute('class').startswith('level-')
    page.click('#undo')
    sync_api.expect(page.locator('#text')).to_have_value(whole)


def test_typing_does_not_wait_for_candidates(studio):
    page = studio(prefix='分开', length=12, temperature=1.5, seed=3)
    whole = generate(page)
    held = []
    page.route('**/v1/models/charrnn:generate_stream', lambda route: held.append(route))
    with page.expect_request('**/v1/models/charrnn:generate_stream'):
        click_character(page, 7)
    page.keyboard.press('Control+End')
    page.keyboard.type('山河')
    assert text(page) == whole + '山河'
    sync_api.expect(page.locator('#stop-generating')).to_be_disabled()
    assert page.locator('#candidates').is_hidden()


def test_candidates_of_an_own_character(studio):
    """Own characters share a box; the half of a character that was clicked does not matter."""
    page = studio(prefix='不分开你在河这边', length=3)
    left, width = page.locator('#shades .own').evaluate('e => [e.getBoundingClientRect().left, e.offsetWidth / 8]')
    top = page.locator('#shades .own').evaluate('e => e.getBoundingClientRect().top + 20')
    for index, half in ((3, 0.2), (3, 0.8), (7, 0.8)):
        page.mouse.click(left + (index + half) * width, top)
        sync_api.expect(page.locator('#candidates')).to_contain_text(f'Expected as character {index + 1};')
        page.keyboard.press('Escape')
        sync_api.expect(page.locator('#candidates')).to_be_hidden()


def test_three_samples_to_choose_from(studio, folders):
    page = studio(prefix='分开', length=15, temperature=1.5, seed=3)
    first = generate(page)
    page.click('#three')
    expect_status(page, 'Choose one of the samples')
    samples = page.locator('.sample .text').evaluate_all('all => all.map(e => e.textContent)')
    assert len(set(samples)) == 3
    page.click('text=Choose 2')
    expect_status(page, 'Done')
    assert text(page) == '分开' + samples[1]
    seed = int(page.input_value('#seed'))
    assert by_generate(folders['charrnn'], '分开', 15, 1.5, seed=seed)[0] == text(page)
    assert page.locator('.sample').count() == 0
    for expected in ('分开' + samples[2], '分开' + samples[0], first):
        page.click('#undo')
        sync_api.expect(page.locator('#text')).to_have_value(expected)


def test_sample_that_fails_says_why_and_the_others_can_be_chosen(studio):
    page = studio(prefix='分开', length=15, temperature=1.5)
    count = iter(range(9))

    def fail_once(route) -> None:
        if next(count) == 1:
            route.fulfill(status=503, json={'error': 'too many requests are in progress: try again later.'})
        else:
            route.continue_()

    page.route('**/v1/models/charrnn:generate_stream', fail_once)
    page.click('#three')
    expect_status(page, 'Choose one of the samples')
    failed = page.locator('.sample', has=page.locator('.error'))
    sync_api.expect(failed).to_have_count(1)
    assert failed.locator('.error').inner_text() == 'too many requests are in progress: try again later.'
    assert page.locator('.sample button:enabled').count() == 2


def test_no_sample_needs_to_be_chosen(studio):
    page = studio(prefix='分开', length=15, temperature=1.5, seed=3)
    first = generate(page)
    for leave in (lambda: page.click('text=Choose none'), lambda: page.keyboard.press('Escape')):
        page.click('#three')
        expect_status(page, 'Choose one of the samples')
        leave()
        sync_api.expect(page.locator('.sample')).to_have_count(0)
        sync_api.expect(page.locator('#text')).to_have_value(first)


def test_read_shades_a_text_by_the_surprise_of_the_model(studio, folders):
    page = studio()
    given = '山一程 不分开 河河河'
    page.fill('#text', given)
    assert {name for _, name in shaded(page)} == {'own'}
    page.click('#read')
    expect_status(page, f'Read: {len(given) - 1} characters')
    scores = by_score(folders['charrnn'], given)
    assert page.inner_text('#perplexity') == f'{math.exp(-sum(scores) / len(scores)):.2f}'
    assert [name for _, name in shaded(page)] == ['own', *(f'level-{level(score)}' for score in scores)]


def test_read_takes_a_text_longer_than_a_request(studio, folders):
    """It reads in windows that overlap by the longest prefix."""
    page = studio(model='awkward')
    window = 1000 + MAX_PREFIX
    given = (AWKWARD * 100)[: 2 * window - 100]
    page.fill('#text', given)
    page.click('#read')
    expect_status(page, f'Read: {len(given) - 1:,} characters')
    scores = by_score(folders['awkward'], given[:window])
    scores += by_score(folders['awkward'], given[window - MAX_PREFIX :])[MAX_PREFIX - 1 :]
    assert len(scores) == len(given) - 1
    assert page.inner_text('#perplexity') == f'{math.exp(-sum(scores) / len(scores)):.2f}'
    start, found = 0, shaded(page)
    for text_of_box, name in found:  # a letter and its marks have the level of the least likely
        end = start + len(text_of_box)
        levels = [level(score) for score in scores[max(start - 1, 0) : end - 1]]
        assert name.split() == (
            ['own'] if not levels else [f'level-{max(levels)}', *['line-break'] * (text_of_box == '\n')]
        )
        start = end


def test_read_needs_two_characters(studio):
    page = studio(prefix='分')
    page.click('#read')
    sync_api.expect(page.locator('#text-error')).to_contain_text('Write two characters or more')
    sync_api.expect(page.locator('#text')).to_be_focused()


def test_edit_keeps_the_shades_before_it_only(studio):
    page = studio(prefix='分开', length=10, temperature=1.5, seed=3)
    whole = generate(page)
    before = shaded(page)
    other = '河' if whole[5] != '河' else '山'
    page.fill('#text', whole[:5] + other + whole[6:])
    kept = shaded(page)
    assert kept == [*before[:4], [f'{other}{whole[6:]}', 'own']]


def test_model_reads_the_end_of_a_long_text(studio, folders):
    page = studio(model='awkward', length=10, temperature=1.5, seed=3)
    given = 'abc' * MAX_PREFIX
    page.fill('#text', given)
    assert page.inner_text('#text-count') == f'150 characters; the model reads the last {MAX_PREFIX}'
    expected, _ = by_generate(folders['awkward'], given[-MAX_PREFIX:], 10, 1.5, seed=3)
    assert generate(page) == given + expected[MAX_PREFIX:]


def test_stop_ends_the_stream_here_and_at_the_server(studio):
    """There it gives its place back: with as many as the server has, the last would be refused. The text stays."""
    page = studio(length=LONG, temperature=1)
    for n, stop in enumerate(
        [lambda: page.dispatch_event('#stop-generating', 'click'), lambda: page.keyboard.press('Escape')] * PLACES
    ):
        page.fill('#text', '分' * (n + 1))
        page.click('#generate')
        sync_api.expect(page.locator(f'#shades [data-index="{n + 10}"]')).to_be_attached()
        stop()
        expect_status(page, re.compile(r'Stopped after [\d,]+ characters'))
        assert 10 <= int(page.inner_text('#status').split()[2].replace(',', '')) == len(text(page)) - n - 1 < LONG
        sync_api.expect(page.locator('#stop-generating')).to_be_disabled()
    page.fill('#text', '分')
    page.fill('#length', '3')
    assert len(generate(page)) == 4


def test_new_task_stops_the_one_before_and_keeps_its_text(studio):
    page = studio(prefix='分开', length=LONG, temperature=1)
    page.click('#generate')
    sync_api.expect(page.locator('#shades [data-index="20"]')).to_be_attached()
    page.fill('#length', '5')
    page.dispatch_event('#another', 'click')  # it moves while the text grows
    expect_status(page, 'Done: 5 characters')
    assert len(text(page)) == 7
    page.click('#undo')
    page.wait_for_function('document.getElementById("text").value.length > 20')


def test_a_person_without_a_mouse_writes(studio, folders, vocabulary):
    """The path in docs/serving.md: write, generate, vary, branch, choose, read, go back."""
    page = studio()
    assert page.input_value('#text') in vocabulary.characters  # something to try, and selected: typing replaces it
    page.keyboard.type('分开')
    page.keyboard.press('Control+Enter')
    expect_status(page, 'Done')
    first = text(page)
    assert first == by_generate(folders['charrnn'], '分开', 20, temperature=0.8, seed=1)[0]
    page.keyboard.press('Control+Shift+Enter')
    expect_status(page, 'Done')
    page.wait_for_function('before => document.getElementById("text").value !== before', arg=first)
    page.keyboard.press('Control+z')
    sync_api.expect(page.locator('#text')).to_have_value(first)
    page.keyboard.press('Control+Home')
    for _ in range(5):
        page.keyboard.press('ArrowRight')
    sync_api.expect(page.locator('#detail')).to_contain_text('character 6 of 22')
    page.keyboard.press('Alt+ArrowDown')
    sync_api.expect(page.locator('#candidates button').first).to_be_focused()
    page.keyboard.press('Escape')
    sync_api.expect(page.locator('#text')).to_be_focused()
    page.keyboard.press('Alt+ArrowDown')
    sync_api.expect(page.locator('#candidates button').first).to_be_focused()
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    expect_status(page, 'Done')
    sync_api.expect(page.locator('#text')).to_be_focused()
    assert text(page)[:5] == first[:5]
    assert len(text(page)) == 26
    page.focus('#three')
    page.keyboard.press('Enter')
    sync_api.expect(page.locator('.sample button').first).to_be_focused()
    page.keyboard.press('Enter')
    expect_status(page, 'Done')
    sync_api.expect(page.locator('#text')).to_be_focused()
    page.focus('#read')
    page.keyboard.press('Enter')
    expect_status(page, 'Read: 25 characters')


def test_tab_goes_through_what_can_be_set_in_the_order_in_which_it_is_seen(studio):
    page = studio(prefix='分开')
    generate(page)
    page.click('#undo')
    page.focus('#model')
    visited = []
    while not visited or visited[-1] != 'dice':
        visited.append(page.evaluate('document.activeElement.id'))
        assert page.evaluate('getComputedStyle(document.activeElement).outlineStyle') == 'solid', visited
        page.keyboard.press('Tab')
    buttons = ['generate', 'another', 'three', 'read', 'redo']
    near = ['length', 'temperature', 'numbers', 'copy-text', 'copy-curl']
    assert visited == ['model', 'language', 'text', *buttons, *near, 'top_k', 'top_p', 'stop', 'seed', 'dice']


@pytest.mark.parametrize('end', ['Enter', 'Escape', 'Control+z'])
def test_focus_returns_from_the_candidates_to_the_text_with_numbers(studio, end):
    page = studio(prefix='分开', length=12, temperature=1.5, seed=3)
    generate(page)
    page.check('#numbers')
    page.focus('#shades')
    page.keyboard.press('End')
    page.keyboard.press('Alt+ArrowDown')
    sync_api.expect(page.locator('#candidates button').first).to_be_focused()
    page.keyboard.press(end)
    sync_api.expect(page.locator('#candidates')).to_be_hidden()
    sync_api.expect(page.locator('#shades')).to_be_focused()


def test_focus_returns_from_the_samples_to_the_text(studio):
    page = studio(prefix='分开', length=5, temperature=1.5, seed=3)
    page.check('#numbers')
    generate(page)
    page.click('#three')
    sync_api.expect(page.locator('.sample button').first).to_be_focused()
    page.keyboard.press('Control+z')
    sync_api.expect(page.locator('.sample')).to_have_count(0)
    sync_api.expect(page.locator('#shades')).to_be_focused()


def test_button_that_is_disabled_gives_the_focus_to_its_neighbour(studio):
    page = studio(prefix='分开', length=5, temperature=1.5, seed=3)
    generate(page)
    for name, neighbour in (('#undo', '#redo'), ('#redo', '#undo')):
        page.focus(name)
        page.keyboard.press('Enter')
        sync_api.expect(page.locator(name)).to_be_disabled()
        sync_api.expect(page.locator(neighbour)).to_be_focused()


def test_alt_down_outside_the_text_belongs_to_the_browser(studio):
    page = studio(prefix='分开', length=5)
    page.evaluate('addEventListener("keydown", (event) => { window.taken = event.defaultPrevented; })')
    for place, taken in (('#model', False), ('#length', False), ('#text', True)):
        page.focus(place)
        page.keyboard.press('Alt+ArrowDown')
        assert page.evaluate('taken') == taken, place
