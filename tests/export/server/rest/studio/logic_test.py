"""The pure functions of the page, run in the browser."""

import math
import random
import re

import pytest

from tests.conftest import ROOT

_STUDIO = ROOT / 'export/server/rest/studio'


@pytest.fixture(scope='module')
def call(browser, files_url):
    """Calls a function of a module of the page: `call('logic.percent', -1)`."""
    page = browser.new_page()
    page.goto(files_url)

    def evaluate(name, *arguments):
        module, function = name.split('.')
        script = f"""async (arguments_) => {{
            const module = await import('/studio/{module}.js');
            return JSON.parse(JSON.stringify(module.{function}(...arguments_) ?? null));
        }}"""
        return page.evaluate(script, list(arguments))

    yield evaluate
    page.close()


@pytest.fixture(scope='module')
def visit(browser, files_url):
    """Runs a script with the module `writing.js` as `w`."""
    page = browser.new_page()
    page.goto(files_url)
    yield lambda script, argument=None: page.evaluate(
        f"async (argument) => {{ const w = await import('/studio/writing.js'); {script} }}", argument
    )
    page.close()


@pytest.mark.parametrize(
    ('probability', 'percent', 'shown'),
    [
        (1.0, '>99.99%', '> 0.9999999'),
        (0.99996, '>99.99%', '0.99996'),
        (0.9999, '99.99%', '0.9999'),
        (0.9993, '99.93%', '0.9993'),
        (0.99, '99.0%', '0.99'),
        (0.984, '98%', '0.984'),
        (0.12345, '12%', '0.123'),
        (0.0954, '9.5%', '0.0954'),
        (0.0012, '0.1%', '0.0012'),
        (0.0004, '0.04%', '0.0004'),
        (0.00001, '<0.01%', '0.00001'),
    ],
)
def test_numbers_tell_almost_certain_from_certain(call, probability, percent, shown):
    assert call('logic.percent', math.log(probability)) == percent
    assert call('logic.probability', math.log(probability)) == shown


def test_percentage_is_that_of_its_level(call):
    """A character is never shown with the shade of one level and a percentage of another, by more than rounding."""
    names = call('logic.levelNames')
    for probability in [random.Random(0).random() ** 4 for _ in range(300)]:
        level = call('logic.level', probability)
        shown = float(call('logic.percent', math.log(probability)).strip('<>%'))
        bound = float(re.search(r'[\d.]+', names[level])[0])
        assert shown <= bound + 0.5 if level == 5 else shown >= bound - 0.5


def test_undo_reaches_every_text_of_a_visit(visit):
    """Random edits, undos and redos: going back to the start passes by all texts, and forth again to the newest."""
    actions = [random.Random(seed).choices('nnnur', k=30) for seed in range(20)]
    for made, back, forth, last in visit(
        """
        return argument.map((actions) => {
            let h = w.opened(w.fresh('0'));
            const made = ['0'];
            for (const action of actions) {
                if (action === 'n') {
                    made.push(`${made.length}`);
                    h = w.pushed(h, w.fresh(made.at(-1)));
                } else {
                    h = w.moved(h, action === 'u' ? -1 : 1);
                }
            }
            const now = w.whole(w.current(h));
            const walk = (steps) => h.texts.map(() => {
                const seen = w.whole(w.current(h));
                h = w.moved(h, steps);
                return seen;
            });
            const end = walk(1).at(-1);
            const back = walk(-1);
            return [made, back, walk(1), end];
        });
        """,
        actions,
    ):
        assert set(back) == set(forth) == set(made)
        assert forth[-1] == last


def test_undo_goes_to_the_text_from_which_one_was_made(visit):
    found = visit(
        """
        let h = w.opened(w.fresh('a'));
        for (const text of ['ab', 'abc']) h = w.pushed(h, w.fresh(text));
        h = w.moved(h, -2);
        h = w.pushed(h, w.fresh('ax'));
        return w.whole(w.current(w.moved(h, -1)));
        """
    )
    assert found == 'a'


def test_a_typed_word_is_one_step(visit):
    found = visit(
        """
        let h = w.opened(w.fresh(''));
        for (const text of ['t', 'to', 'to ', 'to b', 'to be']) h = w.typed(h, w.edited(w.current(h), text));
        return h.texts.map(w.whole);
        """
    )
    assert found == ['', 'to ', 'to be']


def test_edit_keeps_the_probabilities_before_it(visit):
    pieces = [{'text': c, 'log_probability': -n} for n, c in enumerate('分🎵开吧')]
    for text, kept in [('分🎵开吧', 4), ('分🎵x开吧', 2), ('分🎵', 2), ('🎵分', 0), ('', 0), ('分🎵开吧了', 4)]:
        found = visit('return w.edited({ pieces: argument[0] }, argument[1]).pieces;', [pieces, text])
        assert ''.join(piece['text'] for piece in found) == text
        assert found[:kept] == pieces[:kept]
        assert not any('log_probability' in piece for piece in found[kept:])


@pytest.mark.parametrize(
    ('text', 'apart', 'joined'),
    [
        ('ab', [1, 1], [1, 1]),
        ('a\u0301b', [2, 1], [2, 1]),
        ('سلام', [1, 1, 1, 1], [4]),
        ('سلام عليكم', [1] * 10, [4, 1, 5]),
        ('👩‍👩‍👧', [5], [5]),
    ],
)
def test_characters_drawn_as_one_are_one_group(visit, text, apart, joined):
    pieces = [{'text': c} for c in text]
    found = [visit('return w.groups(argument[0], argument[1]);', [pieces, way]) for way in (False, True)]
    assert found == [apart, joined]


def test_windows_read_each_character_once_with_context(call):
    for length, most, added in [(2, 5, 3), (8, 5, 3), (9, 5, 3), (1000, 7, 1), (1000, 50, 20)]:
        windows = call('logic.windows', length, {'max_prefix': most, 'max_length': added})
        assert [n for w in windows for n in range(w['read'], w['to'])] == list(range(1, length))
        assert all(w['to'] - w['from'] <= most + added for w in windows)
        assert all(w['read'] - w['from'] == min(w['read'], most) for w in windows)


def test_both_languages_say_everything(browser, files_url):
    page = browser.new_page()
    page.goto(files_url)
    kinds = page.evaluate(
        """async () => {
            const { MESSAGES } = await import('/studio/messages.js');
            const kinds = (messages) => Object.entries(messages).map(([key, message]) => [key, typeof message]);
            return Object.values(MESSAGES).map(kinds);
        }"""
    )
    page.close()
    assert kinds[0] == kinds[1]
    known = {key for key, _ in kinds[0]}
    files = [path for path in _STUDIO.iterdir() if path.suffix in ('.js', '.html') and path.name != 'messages.js']
    source = ''.join(path.read_text('utf-8') for path in files)
    used = set(re.findall(r'(?:data-say="|data-label="|say\(\'|Failure\(\')([\w-]+)', source))
    assert used - known == {'refused'}  # what the server says, in its own words
    unused = {key for key in known if not re.search(f'[\'"]{re.escape(key)}[\'"]', source)}
    assert {key for key in unused if not key.startswith(('U+', 'perplexity-'))} == set()


@pytest.mark.parametrize(
    ('asked', 'preferred', 'language'),
    [
        (None, ['en-US', 'zh-CN'], 'en'),
        (None, ['zh-CN', 'en'], 'zh-Hans'),
        (None, ['fr', 'zh-TW'], 'zh-Hans'),
        (None, ['fr', 'de'], 'en'),
        ('zh-Hans', ['en'], 'zh-Hans'),
        ('en', ['zh-CN'], 'en'),
        ('xx', ['zh-CN'], 'zh-Hans'),
    ],
)
def test_language_is_the_one_asked_for_or_the_browser_s(call, asked, preferred, language):
    assert call('messages.languageOf', asked, preferred) == language


def test_stream_of_events_is_read_wherever_it_is_cut(browser, files_url):
    page = browser.new_page()
    page.goto(files_url)
    text = 'data: {"text": "a\\n"}\n\nevent: done\ndata: {"text": "\\u2028: x"}\n\n'
    found = page.evaluate(
        """async (text) => {
            const { eventReader } = await import('/studio/server.js');
            return [...text].map((_, cut) => {
                const events = eventReader();
                return [...events(text.slice(0, cut)), ...events(text.slice(cut))];
            });
        }""",
        text,
    )
    page.close()
    events = [{'event': 'message', 'data': {'text': 'a\n'}}, {'event': 'done', 'data': {'text': '\u2028: x'}}]
    assert all(one == events for one in found)
