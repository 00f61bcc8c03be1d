"""Text from every kind of corpus, and errors if there is none."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import os
import pathlib
import re
import threading
import zipfile

import pytest

from data import corpus, encodings
from data.download import Remote
from data.errors import InputError
from data.reading import ReadingConfig


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder and the URL at which a server on this machine shows it; the data home is another folder."""
    monkeypatch.setenv('CHARRNN_DATA_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('no_proxy', '*')
    folder = tmp_path / 'web'
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield folder, f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def _write(path: pathlib.Path, content: bytes | str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def _write_zip(path: pathlib.Path, members: dict[str, str | bytes]) -> str:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def load(name: str, **options) -> str:
    return str(corpus.load(ReadingConfig(name, **options)).text)


def _message(name: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        load(name, **options)
    return str(caught.value)


def test_bundled_lyrics_suffice_for_the_run_of_the_section():
    """10,000 characters to learn from and some to hold out, a vocabulary like the section's, and its prefixes in it."""
    text = load('lyrics')
    assert len(text) >= 12_000
    assert len(set(text)) >= 900
    assert set('分开不') <= set(text)


def test_jay_chou_lyrics_have_the_numbers_of_the_section():
    path = pathlib.Path(os.environ.get('CHARRNN_DATA_HOME', os.devnull)) / 'jaychou_lyrics.txt.zip'
    if not path.exists():
        pytest.skip('CHARRNN_DATA_HOME names no folder that holds jaychou_lyrics.txt.zip')
    text = load('jaychou', newlines='space')
    assert len(text) == 63_282
    assert len(set(text[:10_000])) == 1027


def test_file_is_read_unchanged(tmp_path):
    assert load(_write(tmp_path / 'song.any', '想要有直升机 🎵')) == '想要有直升机 🎵'


def test_folder_is_read_recursively_in_order_of_names(tmp_path):
    for name in ('m.txt', 'a.txt', 'z.TXT', 'c/q.txt', 'c/b.txt'):  # written in no order, read in order
        _write(tmp_path / name, f'<{name}>')
    _write(tmp_path / 'd.gz', gzip.compress(b'<d.gz>', mtime=0))
    _write(tmp_path / 'b.md', 'not a text of the corpus')
    assert load(str(tmp_path)) == '<a.txt> <c/b.txt> <c/q.txt> <d.gz> <m.txt> <z.TXT>'


@pytest.mark.parametrize(
    ('pattern', 'text'),
    [
        ('?.txt', 'a b'),
        ('**/*.txt', 'a b c d'),
        ('below/*', 'c d'),  # the folder "deeper" matches, but is no file
    ],
)
def test_glob_is_read_in_order_of_names(tmp_path, pattern, text):
    for name in ('below/c', 'b', 'below/d', 'a'):
        _write(tmp_path / f'{name}.txt', name[-1])
    (tmp_path / 'below' / 'deeper').mkdir()
    assert load(str(tmp_path / pattern)) == text


def test_hidden_files_of_a_folder_are_left_out(tmp_path):
    """Jupyter copies each file into .ipynb_checkpoints, and macOS writes its metadata into ._name."""
    _write(tmp_path / 'a.txt', 'a')
    _write(tmp_path / '.ipynb_checkpoints' / 'a-checkpoint.txt', 'a copy')
    _write(tmp_path / '._a.txt', b'\xff metadata')
    _write(tmp_path / '.hidden.txt', 'hidden')
    _write(tmp_path / '__MACOSX' / 'a.txt', 'metadata')
    assert load(str(tmp_path)) == 'a'


def test_folder_below_a_hidden_folder_is_read(tmp_path):
    _write(tmp_path / '.cache' / 'poems' / 'a.txt', 'a')
    assert load(str(tmp_path / '.cache' / 'poems')) == 'a'


@pytest.mark.parametrize('pattern', ['', '**/*.txt', '*/*.txt'])
def test_file_that_is_found_twice_is_read_once(tmp_path, pattern):
    """A link to a file, and a link to the folder itself, by which `**` finds each file 40 times."""
    _write(tmp_path / 'below' / 'a.txt', 'a')
    _write(tmp_path / 'below' / 'b.txt', 'b')
    (tmp_path / 'below' / 'c.txt').symlink_to(tmp_path / 'below' / 'a.txt')
    (tmp_path / 'below' / 'loop').symlink_to(tmp_path / 'below')
    assert load(str(tmp_path / pattern)) == 'a b'


def test_zip_members_of_one_name_count_once(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('a.txt', 'the first')
        with pytest.warns(UserWarning, match='Duplicate name'):
            archive.writestr('a.txt', 'the last')
    assert load(str(tmp_path / 'a.zip')) == 'the last'


def test_hidden_members_of_a_zip_are_left_out(tmp_path):
    members = {'a.txt': 'a', '.ipynb_checkpoints/a.txt': 'copy', 'b/._a.txt': b'\xff', '__MACOSX/._a.txt': b'\xff'}
    assert load(_write_zip(tmp_path / 'a.zip', members)) == 'a'


def test_documents_are_counted(tmp_path):
    _write(tmp_path / 'a.txt', 'a')
    _write_zip(tmp_path / 'b.zip', {'c.txt': 'c', 'd.txt': 'd'})
    assert corpus.load(ReadingConfig(str(tmp_path))).text.header.num_documents == 3


def test_all_files_that_cannot_be_used_are_named(tmp_path):
    _write(tmp_path / 'a.txt', b'\xff\xff')
    _write(tmp_path / 'b.txt', 'fine')
    _write(tmp_path / 'c.gz', b'\x1f\x8b no gzip')
    message = _message(str(tmp_path))
    assert message.startswith('2 of 3 files cannot be used:\n')
    for part in (f'{tmp_path}/a.txt is not utf-8', f'cannot read {tmp_path}/c.gz'):
        assert part in message
    assert 'b.txt' not in message


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        (b'%PDF-1.7\nthe sun rose', 'a PDF file'),
        (b'{\\rtf1\\ansi the sun rose}', 'an RTF file'),
        (b'\xd0\xcf\x11\xe0\xa1\xb1', 'an old Office file'),
        ({'[Content_Types].xml': '<Types/>', 'word/document.xml': '<w:t>the sun rose</w:t>'}, 'an Office file'),
        ({'mimetype': 'application/epub+zip', 'a.xhtml': 'the sun rose'}, 'an OpenDocument or EPUB file'),
    ],
)
def test_formatted_document_is_not_learned(tmp_path, content, kind):
    path = tmp_path / 'a.txt'
    write = _write_zip if isinstance(content, dict) else _write
    assert f'a.txt is {kind}, not plain text: save it as a .txt file' in _message(write(path, content))


@pytest.mark.parametrize('name', ['a.txt', 'a', 'a.gz'])
def test_the_first_bytes_tell_how_to_unpack_a_file(tmp_path, name):
    path = tmp_path / name
    _write_zip(path, {'a.txt': '分'})
    assert load(str(path)) == '分'
    assert load(_write(path, gzip.compress('开'.encode()))) == '开'
    assert load(_write(path, '了')) == '了'


def test_text_from_a_pipe_cannot_be_read_again(tmp_path):
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=('abc',), daemon=True)
    writer.start()
    found = corpus.load(ReadingConfig(str(path)))
    writer.join()
    assert (str(found.text), found.can_be_read_again) == ('abc', False)
    assert corpus.load(ReadingConfig(_write(tmp_path / 'a.txt', 'abc'))).can_be_read_again


def test_byte_order_mark_within_a_text_is_dropped(tmp_path):
    """As `cat a.txt b.txt` makes it."""
    assert load(_write(tmp_path / 'a.txt', '\ufeff分\ufeff开')) == '分开'


def test_invalid_bytes_are_replaced_on_request(tmp_path):
    assert load(_write(tmp_path / 'a.txt', b'ab\xffc'), encoding_errors='replace') == 'ab\ufffdc'


@pytest.mark.parametrize(
    ('name', 'hint'), [('-', 'stdin'), ('ftp://x/a.txt', 'Only http://'), ('file:///a.txt', 'Only http://')]
)
def test_ways_that_are_not_offered_get_a_hint(name, hint):
    assert hint in _message(name)


def test_texts_of_a_zip_are_read_in_order_of_names(tmp_path):
    path = _write_zip(
        tmp_path / 'songs.zip', {'m.txt': 'm', 'a.txt': 'a', 'z.TXT': 'z', 'c/b.txt': 'b', 'd.pdf': 'no text'}
    )
    assert load(path) == 'a b m z'


def test_gz_is_unpacked(tmp_path):
    assert load(_write(tmp_path / 'song.txt.gz', gzip.compress('分开'.encode()))) == '分开'


def test_url_is_read(web):
    folder, url = web
    _write(folder / 'song.txt', '分开')
    assert load(f'{url}/song.txt') == '分开'


def test_zip_at_a_url_is_unpacked(web):
    folder, url = web
    _write_zip(folder / 'songs.zip', {'a.txt': '分', 'b.txt': '开'})
    assert load(f'{url}/songs.zip') == '分 开'


def test_zip_without_a_suffix_at_a_url_is_unpacked(web):
    folder, url = web
    _write_zip(folder / 'songs', {'a.txt': '分'})
    assert load(f'{url}/songs') == '分'


@pytest.mark.parametrize(('name', 'start'), [('a.zip', b''), ('a.gz', b'\x1f\x8b'), ('a', b'PK\3\4')])
def test_fetched_file_that_cannot_be_used_is_not_kept(web, tmp_path, name, start):
    folder, url = web
    _write(folder / name, start + b'not an archive')
    message = _message(f'{url}/{name}')
    for part in (f'cannot read {url}/{name}', 'Nothing was kept; run the same command to fetch it again'):
        assert part in message
    assert list((tmp_path / 'home').rglob('*')) == []


def test_fetched_text_in_another_encoding_is_kept_with_the_way_to_fetch_it_again(web, tmp_path):
    folder, url = web
    _write(folder / 'a.txt', '分开不了,想要有直升机'.encode('gb18030'))
    (message, (kept,)) = _message(f'{url}/a.txt'), list((tmp_path / 'home').iterdir())
    assert '--encoding=gb18030, which reads' in message
    assert message.endswith(f'To fetch it again, delete {kept}.')
    assert load(f'{url}/a.txt', encoding='gb18030') == '分开不了,想要有直升机'


def test_known_corpus_in_the_data_home_needs_no_network(tmp_path, monkeypatch):
    digest = hashlib.sha256(b'put there by hand').hexdigest()
    monkeypatch.setitem(corpus.REMOTE, 'jaychou', Remote('http://127.0.0.1:0/', 'song.txt', ('sha256', digest)))
    monkeypatch.setenv('CHARRNN_DATA_HOME', str(tmp_path))
    _write(tmp_path / 'song.txt', 'put there by hand')
    assert load('jaychou') == 'put there by hand'


def test_parts_of_the_penn_treebank_are_without_the_leading_blank_of_each_line(tmp_path, monkeypatch):
    monkeypatch.setenv('CHARRNN_DATA_HOME', str(tmp_path))
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        for part in ('test', 'train', 'valid'):
            archive.writestr(f'ptb/ptb.{part}.txt', f' the {part} \n  part \n')
    for name in ('ptb', 'ptb_valid', 'ptb_test'):
        monkeypatch.setitem(corpus.REMOTE, name, Remote('http://127.0.0.1:0/', 'x.zip'))
    assert load('ptb', newlines='keep') == 'the train \n part \n'
    assert load('ptb_valid', newlines='keep') == 'the valid \n part \n'
    assert load('ptb_test') == 'the test   part  '


def test_penn_treebank_has_the_published_numbers():
    path = pathlib.Path(os.environ.get('CHARRNN_DATA_HOME', os.devnull)) / 'ptb.zip'
    if not path.exists():
        pytest.skip('CHARRNN_DATA_HOME names no folder that holds ptb.zip')
    texts = [load(name, newlines='keep') for name in ('ptb', 'ptb_valid', 'ptb_test')]
    assert [len(text) for text in texts] == [5_059_550, 396_412, 446_184]
    assert len(set(texts[0])) == 50


@pytest.mark.parametrize(('newlines', 'text'), [('space', 'a  b c d'), ('keep', 'a\nb\nc\nd')])
def test_line_breaks(tmp_path, newlines, text):
    r"""The section replaces `\n` and `\r` one by one, so that `\r\n` is two spaces."""
    assert load(_write(tmp_path / 'a.txt', b'a\r\nb\nc\rd'), newlines=newlines) == text


def test_line_breaks_become_spaces_by_default(tmp_path):
    assert load(_write(tmp_path / 'a.txt', 'a\nb')) == 'a b'


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16-le', 'gb18030'])
def test_byte_order_mark_of_every_file_is_dropped(tmp_path, encoding):
    for name in 'ab':
        _write(tmp_path / f'{name}.txt', f'\ufeff{name}'.encode(encoding))
    assert load(str(tmp_path), encoding=encoding) == 'a b'


def test_text_in_a_named_encoding_is_read(tmp_path):
    # The bytes of 分开不了 in GB 18030.
    path = _write(tmp_path / 'a.txt', bytes.fromhex('b7d6 bfaa b2bb c1cb'))
    assert load(path, encoding='gb18030') == '分开不了'


@pytest.mark.parametrize(
    ('newlines', 'max_characters', 'text'),
    [
        ('keep', 3, '\n\n分'),
        ('space', 5, '    分'),
        ('keep', 99, '\n\n分🎵开'),
        ('keep', 0, '\n\n分🎵开'),
    ],
)
def test_max_characters_counts_characters_after_normalisation(tmp_path, newlines, max_characters, text):
    path = _write(tmp_path / 'a.txt', '\ufeff\r\n\r\n分🎵开')
    assert load(path, newlines=newlines, max_characters=max_characters) == text


@pytest.mark.parametrize('size', [1, 2, 3, 7])
@pytest.mark.parametrize('newlines', ['space', 'keep'])
def test_pieces_of_any_size_make_the_same_text(tmp_path, monkeypatch, size, newlines):
    for name, content in (('a', '\ufeff分\r\n\r🎵\r'), ('b', '\n a\r'), ('c', ''), ('d', '\n\n')):
        _write(tmp_path / f'{name}.txt', content)
    _write(tmp_path / 'e.gz', gzip.compress('开\r\n'.encode()))
    _write_zip(tmp_path / 'f.zip', {'a.txt': 'x\r', 'b.txt': '\ny'})
    whole = load(str(tmp_path), newlines=newlines)
    joined = '\n'.join(['分\r\n\r🎵\r', '\n a\r', '', '\n\n', '开\r\n', 'x\r', '\ny'])
    keep = newlines == 'keep'
    assert whole == (re.sub('\r\n|\r', '\n', joined) if keep else re.sub('[\r\n]', ' ', joined))
    monkeypatch.setattr(encodings, '_CHUNK', size)
    assert load(str(tmp_path), newlines=newlines) == whole
    for count in range(1, len(whole)):
        assert load(str(tmp_path), newlines=newlines, max_characters=count) == whole[:count]


def test_max_characters_reads_no_further(tmp_path, monkeypatch):
    """What comes after, here bytes that are no text, is not looked at."""
    monkeypatch.setattr(encodings, '_CHUNK', 4)
    assert load(_write(tmp_path / 'a.txt', b'abcdefgh\xff'), max_characters=5) == 'abcde'


def test_folder_of_encoded_text_is_a_corpus(tmp_path):
    text = '分\r\n开 ' * 5
    path = _write(tmp_path / 'a.txt', text)
    corpus.encode(ReadingConfig(path, newlines='keep'), tmp_path / 'x')
    encoded = ReadingConfig(str(tmp_path / 'x'), newlines='keep')
    found, plain = corpus.load(encoded), corpus.load(ReadingConfig(path, newlines='keep'))
    assert (str(found.text), found.text.sha256) == (str(plain.text), plain.text.sha256)
    assert str(corpus.load(dataclasses.replace(encoded, max_characters=4)).text) == '分\n开 '
    assert 'was encoded with newlines=keep: give --newlines=keep' in _message(str(tmp_path / 'x'))


@pytest.mark.parametrize(
    ('name', 'message'), [('x', "out='{}/x' exists"), ('no/a', 'cannot be written'), ('y', 'is encoded already')]
)
def test_text_that_cannot_be_encoded_is_refused(tmp_path, name, message):
    source = ReadingConfig(_write(tmp_path / 'a.txt', 'abc'))
    corpus.encode(source, tmp_path / 'x')
    _write(tmp_path / 'no', 'a file')
    again = ReadingConfig(str(tmp_path / 'x')) if name == 'y' else source
    with pytest.raises(InputError, match=re.escape(message.format(tmp_path))):
        corpus.encode(again, tmp_path / name)


def test_unknown_corpus_is_refused_with_the_known_names():
    message = _message('no/such/thing')
    for part in ("'no/such/thing'", 'lyrics', 'jaychou', 'time_machine'):
        assert part in message
    assert 'Did you mean' not in message


@pytest.mark.parametrize(
    ('slip', 'meant'), [('lyrcs', 'lyrics'), ('jaychow', 'jaychou'), ('my_pomes.txt', 'my_poems.txt')]
)
def test_misspelt_corpus_gets_a_suggestion(tmp_path, monkeypatch, slip, meant):
    _write(tmp_path / 'my_poems.txt', 'a file in the current folder')
    monkeypatch.chdir(tmp_path)
    assert f'Did you mean {meant}?' in _message(slip)


@pytest.mark.parametrize(
    ('content', 'what'), [('', 'is empty'), (' \r\n\t\u3000', 'has only white space'), ('\ufeff', 'is empty')]
)
def test_corpus_without_a_visible_character_is_refused(tmp_path, content, what):
    path = _write(tmp_path / 'a.txt', content)
    message = _message(path)
    for part in (path, what, '--corpus'):
        assert part in message
    with pytest.raises(InputError, match=what):
        corpus.encode(ReadingConfig(path), tmp_path / 'x')
    assert list(tmp_path.iterdir()) == [tmp_path / 'a.txt']


def test_undecodable_bytes_in_a_zip_are_located_by_member(tmp_path):
    path = _write_zip(tmp_path / 'songs.zip', {'a.txt': 'fine', 'b.txt': b'\xff'})
    assert f'{path}/b.txt is not utf-8' in _message(path)


def test_empty_corpus_name_is_refused(tmp_path, monkeypatch):
    _write(tmp_path / 'a.txt', 'a text that nobody asked for')
    monkeypatch.chdir(tmp_path)
    assert "corpus '' is not a file" in _message('')


@pytest.mark.parametrize('name', ['x' * 300, 'a\0b', '~no-such-user/x', 'http://[bad'])
def test_invalid_corpus_name_is_refused(name):
    assert name[:20] in _message(name).replace('\\x00', '\0')


def test_invalid_data_home_is_refused(monkeypatch):
    monkeypatch.setenv('CHARRNN_DATA_HOME', '~no-such-user/x')
    assert 'kept in ~no-such-user/x, but the home directory is unknown: set CHARRNN_DATA_HOME' in _message('jaychou')


def test_zip_with_undecodable_names_is_refused(tmp_path):
    path = pathlib.Path(_write_zip(tmp_path / 'a.zip', {'分.txt': 'a'}))
    path.write_bytes(path.read_bytes().replace('分'.encode(), b'\xff\xff\xff'))
    assert f'cannot read {path}' in _message(str(path))


def test_known_corpora_have_their_own_encoding():
    assert load('lyrics', encoding='UTF8') == load('lyrics')
    assert "encoding='gb18030' does not go with corpus=lyrics" in _message('lyrics', encoding='gb18030')


def test_macos_metadata_in_a_zip_is_skipped(tmp_path):
    path = _write_zip(tmp_path / 'a.zip', {'a.txt': 'a', '__MACOSX/._a.txt': b'\xff'})
    assert load(path) == 'a'


@pytest.mark.parametrize(('members', 'found'), [({'a.pdf': 'x', 'b.md': 'y'}, 'a.pdf, b.md'), ({}, 'nothing')])
def test_zip_without_text_is_refused_with_its_contents(tmp_path, members, found):
    path = _write_zip(tmp_path / 'a.zip', members)
    message = _message(path)
    for part in (path, '.txt', found):
        assert part in message


def _zip_bytes(damage: str) -> bytes:
    """A zip of one stored text, made unsound; the offsets are those of the zip format."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        archive.writestr('a.txt', 'abc')
    content = bytearray(stream.getvalue())
    if damage == 'checksum':
        content[content.index(b'abc')] ^= 1
    elif damage == 'password':
        content[content.index(b'PK\1\2') + 8] |= 1  # "encrypted" in the flags of the central directory
    else:
        del content[-1:]
    return bytes(content)


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('a.zip', b'not a zip'),
        ('cut.zip', _zip_bytes('cut')),
        ('checksum.zip', _zip_bytes('checksum')),
        ('password.zip', _zip_bytes('password')),
        ('a.gz', b'\x1f\x8bnot a gzip'),
        ('cut.gz', gzip.compress(b'abc', mtime=0)[:-1]),
        (
            'deflate.gz',
            gzip.compress(b'abc', mtime=0)[:10] + b'\xff' * 9,
        ),  # a sound header before a block of no known type
        ('checksum.gz', gzip.compress(b'abc', mtime=0)[:-8] + bytes(8)),
    ],
)
def test_damaged_archive_is_refused_by_name(tmp_path, name, content):
    path = _write(tmp_path / name, content)
    assert f'cannot read {path}: ' in _message(path)


def test_folder_without_text_is_refused(tmp_path):
    _write(tmp_path / 'a.pdf', 'x')
    message = _message(str(tmp_path))
    for part in (repr(str(tmp_path)), '.txt', '.gz', '.zip'):
        assert part in message
