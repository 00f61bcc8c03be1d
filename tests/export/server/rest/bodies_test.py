"""Bodies that are packed by gzip, against the standard library's gzip."""

import gzip
import json

import pytest

from export.server.errors import BodyTooLargeError, ServingError
from export.server.rest.bodies import unpacked

TEXT = b'{"instances": [1.0]}' + b' ' * 1000


@pytest.mark.parametrize('members', [1, 2, 100])
def test_members_are_joined(members):
    packed = gzip.compress(TEXT) * members
    assert unpacked(packed, members * len(TEXT)) == TEXT * members
    with pytest.raises(BodyTooLargeError):
        unpacked(packed, members * len(TEXT) - 1)


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (b'{"instances": [1.0]}', 'the body is not gzip, as its Content-Encoding says'),
        (gzip.compress(TEXT)[:-9], 'the body is cut off'),
        (gzip.compress(TEXT)[:-4] + b'abcd', 'the body is not gzip'),
        (gzip.compress(TEXT) + b'x', 'the body is not gzip'),
    ],
    ids=['plain', 'cut off', 'wrong checksum', 'more after the end'],
)
def test_damaged_body_is_refused(body, message):
    with pytest.raises(ServingError, match=message) as refused:
        unpacked(body, 9999)
    assert refused.value.http_status == 400


@pytest.mark.parametrize('name', ['gzip', 'x-gzip', 'GZIP'])
def test_packed_request_is_answered_like_a_plain_one(own_address, name):
    body = gzip.compress(json.dumps({'instances': [1.0]}).encode())
    answer = own_address.http('POST', '/v1/models/half_plus_two:predict', body, content_encoding=name)
    assert answer.document == {'predictions': [2.5]}


def test_packed_stream_is_answered_like_a_plain_one(own_address):
    body = json.dumps({'prefix': '分', 'length': 3}).encode()
    path = '/v1/models/charrnn:generate_stream'
    packed = own_address.http('POST', path, gzip.compress(body), content_encoding='gzip')
    assert packed.body == own_address.http('POST', path, body).body
    assert packed.body.count(b'data: ') == 4


def test_body_that_unpacks_to_more_than_the_limit_is_refused(own_address):
    bomb = gzip.compress(b' ' * 2**28)
    answer = own_address.http('POST', '/v1/models/half_plus_two:predict', bomb, content_encoding='gzip')
    assert answer.status == 413


def test_other_encodings_are_named(own_address):
    answer = own_address.http('POST', '/v1/models/half_plus_two:predict', b'', content_encoding='br')
    assert answer.status == 400
    assert "Content-Encoding 'br' is not supported: use gzip" in answer.document['error']
