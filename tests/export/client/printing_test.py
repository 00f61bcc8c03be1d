"""Printed texts, and the prefix that an error names. `generate_test.py` has the output on a terminal."""

import sys
import unicodedata

import pytest

from data.errors import InputError
from export.artifact.text_request import sample_requests
from export.client.printing import print_texts
from export.client.remote import RemoteModel


def test_refused_prefix_is_named_by_its_index_among_all_prefixes(url, capsys):
    """Not by its row in a batch of 32: row 51 of all is row 19 of the second batch."""
    requests = sample_requests(['分'] * 17 + ['囧'], 3, 0, length=1, temperature=1.0)
    with pytest.raises(InputError, match=r"charrnn:predict answered HTTP 400: prefix\[17\] contains '囧'"):
        print_texts(RemoteModel(url), requests, 3, as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 32


@pytest.mark.parametrize('name', ['length', 'temperature', 'top_k', 'top_p', 'seed'])
def test_index_of_other_values_equals_that_of_the_prefix(name):
    class Refusing:
        def generate(self, requests):
            raise InputError(f'{name}[5] is 3; prefix[5] is quoted')

    requests = sample_requests(['分'] * 4, 2, 0, length=1, temperature=1.0)
    with pytest.raises(InputError, match=rf'^{name}\[2\] is 3; prefix\[5\] is quoted$'):
        print_texts(Refusing(), requests, 2, as_json=False)


@pytest.mark.parametrize(('given', 'other'), [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_refused_prefix_in_another_normal_form_gets_a_hint(given, other):
    class Refusing:
        def generate(self, requests):
            raise InputError('prefix[1] contains something')

    prefixes = ['a', unicodedata.normalize(given, 'café')]
    with pytest.raises(InputError, match=rf'^prefix\[1\] contains something\. .* write it in {other}\.$'):
        print_texts(Refusing(), sample_requests(prefixes, 1, 0, length=1, temperature=1.0), 1, as_json=False)


def test_refused_prefix_on_a_terminal_gets_the_hint_too(monkeypatch, capsys):
    class Refusing:
        def stream(self, request):
            raise InputError('prefix[0] contains something')

    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True)
    requests = sample_requests([unicodedata.normalize('NFD', 'café')], 1, 0, length=1, temperature=1.0)
    with pytest.raises(InputError, match=r'^prefix\[0\] contains something\. .* write it in NFC\.$'):
        print_texts(Refusing(), requests, 1, as_json=False)
