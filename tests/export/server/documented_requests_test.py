"""The requests of the documents are answered."""

import collections
import json
import re
import shlex
import urllib.parse

import pytest

from tests.conftest import ROOT, TEXT

DOCUMENTS = ['README.md', 'README.zh-CN.md', *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('docs/*.md'))]
_CURL = re.compile(r"^(?:\$ )?(curl (?:'[^']*'|[^'\n])*)", re.MULTILINE)  # a quoted body may have line breaks


def _requests() -> list[tuple[str, str, str]]:
    """Returns (document, path of the URL, JSON) of each body."""
    found = []
    for document in DOCUMENTS:
        for command in _CURL.findall((ROOT / document).read_text('utf-8')):
            words = shlex.split(command, comments=True)
            if '-d' in words:
                (url,) = (word for word in words if word.startswith('http'))
                found.append((document, urllib.parse.urlsplit(url).path, words[words.index('-d') + 1]))
    return found


def test_no_request_of_the_documents_is_overlooked():
    texts = {document: (ROOT / document).read_text('utf-8') for document in DOCUMENTS}
    bodies = {document: text.count(' -d ') for document, text in texts.items() if ' -d ' in text}
    assert collections.Counter(document for document, *_ in _requests()) == bodies


@pytest.mark.parametrize(('document', 'path', 'body'), _requests())
def test_each_request_of_the_documents_is_answered(own_address, document, path, body):
    assert set(re.findall('[\u4e00-\u9fff]', body)) <= set(TEXT)
    answer = own_address.http('POST', path, json.loads(body))
    assert answer.status == 200, f'{document}: {answer.document}'
    assert b'event: error' not in answer.body
