"""A text in a file: the same characters, counts and hash as the string, whatever its pieces."""

import collections
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from data import stored_text
from data.errors import InputError
from data.ids import Ids
from data.windows import Windows, stacked
from tests.conftest import ROOT, Pieces, stored

LETTERS = 'ab \n分开🎵\U0010fffd'


def _text(length: int, letters: str = LETTERS) -> str:
    return ''.join(random.Random(length).choices(letters, k=length))


def _letters(count: int) -> str:
    """Returns as many distinct characters."""
    return ''.join(chr(n) for n in range(32, count + 3000) if not 0xD800 <= n < 0xE000)[:count]


@pytest.mark.parametrize('sizes', [[7], [1] * 7, [0, 3, 0, 4], []])
def test_pieces_make_one_text(sizes):
    ends = [0, *itertools.accumulate(sizes)]
    text = _text(sum(sizes))
    found = stored_text.temporary(Pieces(*(text[a:b] for a, b in itertools.pairwise(ends))))
    assert (str(found), len(found)) == (text, len(text))
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize('bounds', [(0, 100), (0, 10), (7, 30), (20, 99), (3, 100), (50, 50), (60, 40), (-9, None)])
def test_slice_is_that_of_the_string(monkeypatch, bounds):
    """With pieces of three characters."""
    monkeypatch.setattr(stored_text, '_PIECE', 3)
    text = _text(100)
    found, expected = stored(text)[slice(*bounds)], text[slice(*bounds)]
    assert (str(found), len(found)) == (expected, len(expected))
    counts = dict(zip(found.header.characters, found.counts().tolist(), strict=True))
    assert {character: count for character, count in counts.items() if count} == collections.Counter(expected)
    assert [found.count(character) for character in LETTERS + 'z'] == [expected.count(c) for c in LETTERS + 'z']
    assert found.sha256 == hashlib.sha256(expected.encode()).hexdigest()
    assert str(found[2:5][1:]) == expected[2:5][1:]


@pytest.mark.parametrize(('count', 'size'), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_file_has_the_fewest_bytes_per_character(tmp_path, monkeypatch, count, size):
    """Characters that come late make it wider."""
    monkeypatch.setattr(stored_text, '_PIECE', 100)
    text = 'ab' * 1000 + _letters(count)
    stored_text.create(tmp_path / 'x', Pieces(text[:500], text[500:2200], text[2200:]))
    assert (tmp_path / 'x' / 'symbols.bin').stat().st_size == size * len(text)
    assert str(stored_text.read(tmp_path / 'x')) == text
    assert sorted(path.name for path in (tmp_path / 'x').iterdir()) == ['symbols.bin', 'text.json']


def test_interrupted_text_leaves_nothing(tmp_path):
    class Broken(Pieces):
        def __iter__(self):
            yield 'ab'
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored_text.create(tmp_path / 'x', Broken())
    assert list(tmp_path.iterdir()) == []


def test_full_directory_of_temporary_files_is_named_with_the_way_out(tmp_path):
    """As by `ulimit -f`: a larger file cannot be written."""
    code = """
import resource, signal
from data import corpus
from data.errors import InputError
from data.reading import ReadingConfig
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    corpus.load(ReadingConfig('lyrics'))
except InputError as error:
    print(error)
"""
    environment = os.environ | {'TMPDIR': str(tmp_path)}
    process = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.stderr == ''
    assert process.stdout.startswith('the text cannot be encoded into a temporary file: [Errno 27] File too large')
    assert 'Set TMPDIR' in process.stdout
    assert list(tmp_path.iterdir()) == []


def test_folder_that_a_user_named_part_is_kept(tmp_path):
    (tmp_path / 'x.part').mkdir()
    (tmp_path / 'x.part' / 'thesis.txt').write_text('precious')
    stored_text.create(tmp_path / 'x', Pieces('abc'))
    assert (tmp_path / 'x.part' / 'thesis.txt').read_text() == 'precious'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['x', 'x.part']


def test_two_texts_that_are_written_to_one_folder_are_not_mixed(tmp_path):
    """The second is written while the first is; the one that is complete first counts."""

    class Meanwhile(Pieces):
        def __iter__(self):
            yield 'ab'
            stored_text.create(tmp_path / 'x', Pieces('cde'))
            yield 'ab'

    with pytest.raises(OSError, match='not empty'):
        stored_text.create(tmp_path / 'x', Meanwhile())
    assert str(stored_text.read(tmp_path / 'x')) == 'cde'
    assert list(tmp_path.iterdir()) == [tmp_path / 'x']


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('symbols.bin', lambda content: content[:-1], r'^\S+symbols\.bin is damaged: delete'),
        ('text.json', lambda content: content[:-9], 'cannot be read: JSONDecodeError'),
        ('text.json', lambda content: json.dumps(json.loads(content) | {'format': 0}).encode(), r'^\S+ is of another'),
        ('text.json', lambda content: b'{"format": 1}', 'cannot be read'),
    ],
)
def test_damaged_text_is_refused(tmp_path, name, change, message):
    stored_text.create(tmp_path / 'x', Pieces('abc'))
    path = tmp_path / 'x' / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        stored_text.read(tmp_path / 'x')


@pytest.mark.parametrize('sampling', ['random', 'consecutive'])
@pytest.mark.parametrize('num_shards', [1, 2])
@pytest.mark.parametrize('context', [0, 2])
def test_windows_from_the_file_are_those_from_memory(sampling, num_shards, context):
    text = _text(211, _letters(300))
    whole = stored(f'x{text}y')
    table = np.random.default_rng(0).permutation(len(whole.header.characters)).astype(np.int32)
    ids = {character: table[n] for n, character in enumerate(whole.header.characters)}
    in_file = Ids.of_text(whole[1:-1], table)
    in_memory = Ids.of(np.array([ids[character] for character in text]))
    windows = Windows(len(text), 4, 5, sampling, seed=3, context=context if sampling == 'consecutive' else 0)
    for shard in range(num_shards):
        found, expected = (
            stacked(windows, one, 0, 23, stack_size=9, shard=shard, num_shards=num_shards).as_numpy_iterator()
            for one in (in_file, in_memory)
        )
        for (x, y, count), (expected_x, expected_y, expected_count) in zip(found, expected, strict=True):
            assert count == expected_count
            np.testing.assert_array_equal(y, expected_y)
            np.testing.assert_array_equal(x[..., -5:], expected_x[..., -5:])


def test_window_beyond_the_ends_holds_the_ids_within():
    found = Ids.of(np.arange(10)).windows(np.array([-2, 8, 3]), 4)
    beyond = Ids.of(np.arange(10)).windows(np.array([-9, 10, 15]), 4)  # a padded row may begin after the end
    assert beyond.shape == (3, 4)
    assert (found[0, 2:].tolist(), found[1, :2].tolist(), found[2].tolist()) == ([0, 1], [8, 9], [3, 4, 5, 6])
