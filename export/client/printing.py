"""Generated texts on stdout."""

import contextlib
import dataclasses
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Protocol

from data import program
from data.errors import InputError
from data.terminal import shown
from export.artifact.text_request import GeneratedText, Request, TextRequest, batches


class TextModel(Protocol):
    """A local or remote model."""

    def generate(self, requests: Sequence[Request]) -> list[GeneratedText]:
        """Returns a text per request."""

    def stream(self, request: TextRequest) -> Iterator[str] | None:
        """Yields the added characters as they are generated. Returns None if the model cannot stream."""


def print_texts(model: TextModel, requests: Sequence[Request], num_samples: int, *, as_json: bool) -> None:
    """Prints one text, or one JSON object, per line in the order of the requests.

    There are `num_samples` consecutive requests per prefix. A terminal shows the text of a single `TextRequest` while
    it is generated, if `model` can stream. Raises `InputError` if the model refuses a request; the message gives the
    index of its prefix among all prefixes.
    """
    first, *others = requests
    streamed = (
        isinstance(first, TextRequest)
        and not others
        and not as_json
        and sys.stdout.isatty()
        and _print_stream(model, first)
    )
    if not streamed:
        _print_batches(model, requests, num_samples, as_json)


def _print_stream(model: TextModel, request: TextRequest) -> bool:
    """Prints a text as its characters arrive; returns False if the model cannot stream."""
    with _named(0, 1, [request]):
        added = model.stream(request)
    if added is None:
        return False
    print(shown(request.prefix, sys.stdout), end='', flush=True)
    try:
        for characters in added:
            print(shown(characters, sys.stdout), end='', flush=True)
    finally:
        print(flush=True)  # an error message must start on a new line
    return True


def _print_batches(model: TextModel, requests: Sequence[Request], num_samples: int, as_json: bool) -> None:
    printed = 0
    for batch in batches(requests):
        with _named(printed, num_samples, batch):
            texts = model.generate(batch)
        for request, generated in zip(batch, texts, strict=True):
            fields = dataclasses.asdict(request) | generated._asdict()
            print(program.json_line(fields) if as_json else shown(generated.text, sys.stdout))
        sys.stdout.flush()
        printed += len(batch)


@contextlib.contextmanager
def _named(first_row: int, num_samples: int, batch: Sequence[Request]) -> Iterator[None]:
    """Gives an `InputError` of the model the index of the prefix among all prefixes, and a hint on its characters."""
    try:
        yield
    except InputError as error:
        hint = _normal_form_hint(str(error), batch)
        raise InputError(_with_prefix_index(str(error), first_row, num_samples) + hint) from error


def _normal_form_hint(message: str, batch: Sequence[Request]) -> str:
    """Returns a sentence if the model refuses a character of a prefix that has another normal form."""
    found = re.search(r'\bprefix\[(\d+)\] contains ', message)
    for form in ('NFC', 'NFD'):
        if found and not unicodedata.is_normalized(form, batch[int(found[1])].prefix):
            return f'. Unicode writes this prefix in two ways; the model may know the other one: write it in {form}.'
    return ''


def _with_prefix_index(message: str, first_row: int, num_samples: int) -> str:
    """Replaces the index of a row in its batch by the index of its prefix among all prefixes, from 0."""

    def prefix_index(found: re.Match) -> str:
        return f'{found[1]}[{(first_row + int(found[2])) // num_samples}]'

    return re.sub(r'\b(prefix|length|temperature|top_k|top_p|stop|seed)\[(\d+)\]', prefix_index, message, count=1)
