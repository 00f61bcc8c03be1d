"""What the tests of the studio share: awkward characters, what they do on the page, and the texts to expect."""

import functools
import math
import pathlib

import tensorflow as tf
from playwright import sync_api

# What a page, a shell and JSON take for more than a letter: quotes, markup, escapes, a line break, a wide character,
# Arabic, a combining accent, a line separator.
AWKWARD = '\n "$&\'\\`!<>{}%#abcשםلا\u0301\u2028🎵吧'
LONG = 100_000
MAX_PREFIX = 50
PLACES = 3


def expect_status(page: sync_api.Page, text) -> None:
    sync_api.expect(page.locator('#status')).to_contain_text(text)


def generate(page: sync_api.Page) -> str:
    """Clicks, waits for the end, and returns the text on the page."""
    page.click('#generate')
    expect_status(page, 'Done')
    return text(page)


def text(page: sync_api.Page) -> str:
    return page.input_value('#text')


def shaded(page: sync_api.Page) -> list[list[str]]:
    """Returns the text and the class of each box behind the text."""
    return page.locator('#shades [data-index]').evaluate_all('all => all.map(e => [e.textContent, e.className])')


def level(log_probability: float) -> int:
    """Returns the level of shade of a character, from 0 for the likely to 5."""
    return next(n for n, p in enumerate((0.9, 0.5, 0.2, 0.05, 0.01, 0)) if math.exp(log_probability) >= p)


def click_character(page: sync_api.Page, index: int) -> None:
    """Clicks the right half of a character, where the cursor goes behind it."""
    box = page.locator(f'#shades [data-index="{index}"]').bounding_box()
    page.mouse.click(box['x'] + 0.8 * box['width'], box['y'] + box['height'] / 2)


@functools.cache
def _loaded(folder: pathlib.Path):
    return tf.saved_model.load(str(folder / '1'))


def by_generate(
    folder: pathlib.Path, prefix, length, temperature=0.0, top_k=0, top_p=1.0, stop='', seed=0
) -> tuple[str, float]:
    """Returns the text and the log likelihood of the signature `generate`."""
    answer = _loaded(folder).signatures['generate'](
        prefix=tf.constant([prefix]),
        length=tf.constant([length]),
        temperature=tf.constant([temperature]),
        top_k=tf.constant([top_k]),
        top_p=tf.constant([top_p]),
        stop=tf.constant([stop]),
        seed=tf.constant([seed], tf.int64),
    )
    return answer['text'].numpy()[0].decode(), float(answer['log_likelihood'].numpy()[0])


def by_score(folder: pathlib.Path, text: str) -> list[float]:
    """Returns the log probabilities of the signature `score`: of each character but the first."""
    answer = _loaded(folder).signatures['score'](text=tf.constant([text]))
    return answer['log_probabilities'].numpy()[0].tolist()
