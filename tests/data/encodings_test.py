"""Bytes that are not the text they are said to be: located, with advice that works."""

import contextlib
import io
import random
import re

import pytest

from data import encodings
from data.encodings import candidates
from data.errors import InputError

SENTENCES = {
    'German': ('Die Straße führt über die Brücke, und die Mädchen hören schöne Lieder.', ['cp1252', 'latin-1']),
    'French': ("L'été dernier, le garçon a reçu une lettre de sa mère, très agréable.", ['cp1252']),
    'Turkish': ('Güneş doğdu ve çocuklar bahçede oynuyor. Yağmur yağıyor, şemsiyemi aldım.', ['cp1254']),
    'Polish': ('Przyszła wiosna i zakwitły kwiaty. Ten świat jest piękny, śpiewamy pieśń.', ['cp1250', 'iso8859-2']),
    'Russian': ('Наступила весна, и расцвели цветы. Мы вместе поём песни.', ['cp1251', 'koi8-r', 'cp866']),
    'Greek': ('Ήρθε η άνοιξη και άνθισαν τα λουλούδια. Ο κόσμος είναι όμορφος.', ['cp1253']),
    'Hebrew': ('האביב הגיע והפרחים פורחים. אנחנו שרים יחד שירים.', ['cp1255']),
    'Arabic': ('جاء الربيع وتفتحت الأزهار. نحن نغني معا. هذا العالم جميل جدا.', ['cp1256']),
    'Thai': ('ฤดูใบไม้ผลิมาถึงแล้ว ดอกไม้บาน เราร้องเพลงด้วยกัน', ['cp874']),
    'simplified Chinese': ('春天来了,花开满园。我们一起唱歌跳舞,这个世界真美丽。', ['gb18030']),
    'traditional Chinese': ('春天來了,花開滿園。我們一起唱歌跳舞,這個世界真美麗。', ['big5']),
    'Japanese': ('春が来て、花が咲きました。この世界はとても美しいです。カタカナもある。', ['shift_jis', 'euc_jp']),
    'Korean': ('봄이 와서 꽃이 피었습니다. 우리는 함께 노래를 부릅니다.', ['euc_kr']),
    'English': ('Copyright © 2019 by the author. Nothing else is special in this text.', ['cp1252']),
}
CASES = [(sentence, encoding) for sentence, encodings in SENTENCES.values() for encoding in encodings]


def decode(content: bytes, label: str, encoding: str, errors: str = 'strict') -> str:
    return ''.join(encodings.decode(io.BytesIO(content), label, encoding, errors))


def _message(content: bytes, encoding: str = 'utf-8') -> str:
    with pytest.raises(InputError) as caught:
        decode(content, 'a.txt', encoding)
    return str(caught.value)


@pytest.mark.parametrize(('sentence', 'encoding'), CASES)
def test_an_encoding_that_reads_the_text_is_among_the_candidates(sentence, encoding):
    content = f'A line in ASCII.\n{sentence}\n'.encode(encoding)
    message = _message(content)
    advised = re.findall(r'--encoding=(\S+), which reads', message)
    assert advised == candidates(content)
    assert 1 <= len(advised) <= 3
    assert f'A line in ASCII.\n{sentence}\n' in [decode(content, 'a.txt', name) for name in advised]


@pytest.mark.parametrize('language', ['German', 'Russian', 'Hebrew', 'simplified Chinese', 'Japanese', 'Korean'])
def test_the_most_plausible_encoding_is_named_first(language):
    sentence, encodings = SENTENCES[language]
    for encoding in encodings:
        content = sentence.encode(encoding)
        assert decode(content, 'a.txt', candidates(content)[0]) == sentence


def test_each_candidate_shows_what_it_reads():
    message = _message('Güneş doğdu ve çocuklar oynuyor. Yağmur yağıyor.'.encode('cp1254'))
    assert "--encoding=cp1254, which reads 'Güneş doğdu v'" in message
    assert "--encoding=cp1252, which reads 'Güneþ doðdu v'" in message
    assert message.endswith('Use the one that reads well.')


@pytest.mark.parametrize(
    ('content', 'encoding', 'byte', 'offset'),
    [
        ('abc 分开'.encode('gb18030'), 'utf-8', '0xb7', '4'),
        ('分开'.encode(), 'ascii', '0xe5', '0'),
        (b'\xff\xfe' + '分开'.encode('utf-16-le'), 'utf-8', '0xff', '0'),
        (b'\xff\xfe\0\0' + '分开'.encode('utf-32-le'), 'utf-8', '0xff', '0'),
        (b'\xef\xbb\xbfab\x81', 'utf-8-sig', '0x81', '5'),
        (b'a' * 1234 + b'\xff', 'gb18030', '0xff', '1,234'),
    ],
)
def test_undecodable_byte_is_located(content, encoding, byte, offset):
    expected = f'a.txt is not {encoding.removesuffix("-sig")}: byte {byte} at offset {offset} cannot be decoded.'
    assert _message(content, encoding).startswith(expected)


@pytest.mark.parametrize(
    ('content', 'advised'),
    [
        ('分开'.encode(), ['utf-8']),
        (b'\xff\xfe' + '分开'.encode('utf-16-le'), ['utf-16']),
        (b'\xff\xfe\0\0' + '分开'.encode('utf-32-le'), ['utf-32']),
        ('中文歌词 你好 中文歌词'.encode('utf-16-le'), ['utf-16-le']),
        ('ab'.encode('utf-16-be'), ['utf-16-be']),
    ],
)
def test_unicode_encodings_are_recognised(content, advised):
    assert candidates(content) == advised


@pytest.mark.parametrize(('count', 'places'), [(1, '1 place,'), (2, '2 places,')])
def test_damaged_utf_8_is_called_damaged(count, places):
    content = '春天来了。'.encode() * 100 + b'\n' + b'\xff'.join(['花'.encode()] * (count + 1))
    message = _message(content)
    assert f'damaged in {places} first in line 2.' in message
    assert '--encoding_errors=replace' in message
    assert '--encoding=' not in message


def test_byte_order_mark_tells_that_a_damaged_text_is_utf_8():
    assert 'damaged in 1 place,' in _message(b'\xef\xbb\xbfab\x81')


def test_a_replacement_character_in_the_text_is_not_damage():
    assert 'damaged in 1 place,' in _message('花\ufffd'.encode() * 20 + b'\xff')


@pytest.mark.parametrize('content', [bytes(range(256)) * 10, '分\0\0'.encode(), b'abc\0def' * 40])
def test_content_that_no_encoding_reads_gets_no_wrong_advice(content):
    assert _message(content).endswith('The file may be damaged, or is not a text.')


def test_invalid_bytes_are_replaced_on_request():
    assert decode(b'ab\xff\xe5\x88\x86', 'a.txt', 'utf-8', 'replace') == 'ab\ufffd分'


@pytest.mark.parametrize(
    ('content', 'byte', 'advice'),
    [
        ('分\0\0'.encode(), 3, 'may be damaged'),
        ('ab'.encode('utf-16-le'), 1, "--encoding=utf-16-le, which reads 'ab'."),
        ('ab'.encode('utf-16-be'), 0, "--encoding=utf-16-be, which reads 'ab'."),
    ],
)
def test_nul_character_is_located_by_byte(content, byte, advice):
    message = _message(content)
    for part in ('a.txt', 'NUL', f'at byte {byte} in utf-8', advice):
        assert part in message


def test_lone_surrogate_is_refused():
    assert 'a.txt has a lone surrogate (U+D83D) in unicode_escape' in _message(b'a\\ud83d', 'unicode_escape')


@pytest.mark.parametrize('encoding', ['utf-9', 'undefined', 'a\0b', 'rot13', 'idna'])
def test_codec_that_is_not_a_text_encoding_is_refused(encoding):
    message = _message(b'a', encoding)
    for part in (repr(encoding), 'utf-8', 'gb18030'):
        assert part in message


@pytest.mark.parametrize(
    'encoding', ['utf-8', 'utf-16', 'utf-32-be', 'gb18030', 'big5', 'shift_jis', 'cp1252', 'utf-7']
)
@pytest.mark.parametrize('size', [1, 2, 5])
def test_pieces_of_any_size_decode_to_the_same_text(monkeypatch, encoding, size):
    """Sound texts, and random bytes with `replace` or the same error."""
    monkeypatch.setattr(encodings, '_CHUNK', size)
    for text in ('分开了', 'été', 'plain'):
        content = text.encode(encoding, 'ignore')
        assert decode(content, 'x', encoding) == content.decode(encoding)
    content = random.Random(encoding).randbytes(60)
    with contextlib.suppress(InputError):  # NUL, or half of a surrogate pair
        assert decode(content, 'x', encoding, 'replace') == content.decode(encoding, 'replace').replace('\ufeff', '')
    with pytest.raises(UnicodeDecodeError) as expected:
        (content + b'\xff\xff\xff').decode('utf-8')
    at = expected.value.start
    assert f'byte {content[at]:#04x} at offset {at} ' in _message(content + b'\xff\xff\xff')


@pytest.mark.parametrize('size', [1, 3, 1 << 20])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16', 'gb18030'])
def test_nul_character_is_located_in_any_piece(monkeypatch, size, encoding):
    monkeypatch.setattr(encodings, '_CHUNK', size)
    content = '分a\0b'.encode(encoding)
    at = content.index(b'a') + len('a'.encode(encoding)) - len(''.encode(encoding))
    assert f'has a NUL character at byte {at} in {encoding}' in _message(content, encoding)


def test_damage_far_from_the_start_is_located(monkeypatch):
    """Advice is based on the start of a long text only."""
    monkeypatch.setattr(encodings, '_MOST_ADVISED', 100)
    monkeypatch.setattr(encodings, '_CHUNK', 64)
    message = _message('春天'.encode() * 100 + b'\xff')
    assert 'byte 0xff at offset 600 cannot be decoded. All before it can be decoded' in message
