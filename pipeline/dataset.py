"""The texts of a run, encoded: the parts that it trains on and is evaluated on."""

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Sequence

import numpy as np

from data import corpus
from data.encodings import without_byte_order_marks
from data.errors import InputError
from data.ids import Ids
from data.split import Parts, split
from data.stored_text import StoredText
from data.vocabulary import ABSENT, Vocabulary
from pipeline.config import PARTS, DataConfig, TrainingConfig

_FEWEST = 2  # characters: one to start from and one to predict
_LONGEST_FIRST_WORD = 10  # characters; some scripts do not separate words
CONTEXT = 1000  # characters; a state that has read this many no longer depends on where it started


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """A text in the ids of a vocabulary, after the characters that precede it.

    A model that starts to read from a zero state can predict badly for thousands of characters. So it reads the
    characters before a held-out part first.
    """

    ids: Ids
    """K ids, of the context and the text."""
    num_context: int
    """Of these ids; they are read and not counted."""
    num_characters: int
    """Of the text."""
    num_unknown: int
    """Characters outside the vocabulary; `ids` has U+FFFD for them, or leaves them out."""

    @classmethod
    def of(
        cls, text: StoredText, vocabulary: Vocabulary, name: str, before: Sequence[StoredText] = ()
    ) -> 'EncodedText':
        """Encodes `text`, which error messages call `name`, after the end of the texts `before`.

        If the vocabulary has an unknown character, all new characters are read as U+FFFD. If not, new characters are
        left out: the model has no weights to read them and gives them no probability. Adding an unknown character for
        the held-out part would let that part change the model.

        Raises:
          InputError: fewer than two characters can be encoded, so that none can be predicted.
        """
        num_unknown = _num_unknown(text, vocabulary)
        num_ids = len(text) - (0 if vocabulary.has_unknown else num_unknown)
        if num_ids < _FEWEST:
            raise InputError(
                f'{name} is too short to evaluate: the vocabulary has {num_ids} of its {len(text):,} characters, and '
                f'evaluation needs 2, one to start from and one to predict. Give a longer text.'
            )
        ids = _joined([*_last(before, CONTEXT), text], vocabulary)
        return cls(ids, len(ids) - num_ids, len(text), num_unknown)

    def beginning(self, count: int) -> 'EncodedText':
        """Returns the text with only its first `count` ids to predict; 0: with all."""
        return dataclasses.replace(self, ids=Ids.of(self.ids[: self.num_context + count])) if count else self

    @property
    def unknown_rate(self) -> float:
        """Fraction of the characters that are outside the vocabulary."""
        return self.num_unknown / self.num_characters

    @property
    def targets(self) -> np.ndarray:
        """The ids that a model predicts: those of the text, without the first if nothing precedes it."""
        return self.ids[max(self.num_context, 1) :]

    @property
    def num_targets(self) -> int:
        """How many ids a model predicts."""
        return len(self.ids) - max(self.num_context, 1)


@dataclasses.dataclass(frozen=True)
class Texts:
    """The texts of a run."""

    source: corpus.Corpus
    """`--corpus`, with the parts that are held out of it."""
    parts: Parts
    sha256: str
    """Of all parts, wherever they are from."""

    @classmethod
    def load(cls, data: DataConfig) -> 'Texts':
        """Reads the corpora and splits off the held-out fractions. Raises `InputError` if this cannot be done."""
        source = corpus.load(data)
        others = {part: _load_part(data, part) for part in PARTS if getattr(data, f'{part}_corpus')}
        found = {part: other.text for part, other in others.items()}
        parts = split(source.text, data.valid_fraction, data.test_fraction)._replace(**found)
        can_be_read_again = all(one.can_be_read_again for one in (source, *others.values()))
        source = dataclasses.replace(source, can_be_read_again=can_be_read_again)
        # The ends of parts of one text do not count: they follow from the settings.
        return cls(source, parts, _sha256(parts) if others else source.text.sha256)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The corpus of a run."""

    source: corpus.Corpus
    sha256: str
    """Of all parts."""
    training: StoredText
    """The part that the model learns."""
    vocabulary: Vocabulary
    valid: EncodedText | None
    """The part that chooses the best weights."""
    num_test_characters: int
    """Of the part that only `pipeline.evaluate` reads."""

    @classmethod
    def load(cls, data: DataConfig) -> 'Dataset':
        """Loads the corpus, splits off the held-out parts and builds the vocabulary of the rest.

        Raises:
          InputError: the corpus cannot be read, or a part is too short.
        """
        texts = Texts.load(data)
        training, valid, test = texts.parts
        vocabulary = Vocabulary.from_counts(training.header.characters, training.counts(), data.min_count)
        encoded = EncodedText.of(valid, vocabulary, 'the validation part', [training]) if valid else None
        return cls(texts.source, texts.sha256, training, vocabulary, encoded, len(test))

    @property
    def ids(self) -> Ids:
        """Those of the training part, which has no characters outside the vocabulary."""
        return Ids.of_text(self.training, self.vocabulary.table(self.training.header.characters))

    @property
    def counts(self) -> tuple[int, ...]:
        """Occurrences of each character of the vocabulary in the training part, by id."""
        table, counts = self.vocabulary.table(self.training.header.characters), self.training.counts()
        known = table != ABSENT  # characters of the whole text may be missing from the training part
        found = np.zeros(len(self.vocabulary), np.int64)
        np.add.at(found, table[known], counts[known])
        return tuple(found.tolist())

    def usable_prefixes(self, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        """Returns `prefixes` without byte order marks.

        If the text lacks characters of the default prefixes, its first word replaces them.

        Raises:
          InputError: a prefix of the user has a character outside the vocabulary, and the vocabulary does not have an
            unknown character.
        """
        if prefixes == TrainingConfig.prefixes and not all(self.vocabulary.knows(prefix) for prefix in prefixes):
            return (_first_word(self.training),)
        prefixes = tuple(map(without_byte_order_marks, prefixes))
        for prefix in prefixes:
            self.vocabulary.encode(prefix, f'prefix {prefix!r}')
        return prefixes


def _first_word(text: StoredText) -> str:
    """Returns the first word of a text, or its first characters if it has only white space."""
    found = (re.search(rf'\S{{1,{_LONGEST_FIRST_WORD}}}', piece) for piece in text.strings())
    first = next(filter(None, found), None)
    return first[0] if first else str(text[:_LONGEST_FIRST_WORD])


def _num_unknown(text: StoredText, vocabulary: Vocabulary) -> int:
    """Returns how many characters of a text are U+FFFD, or outside a vocabulary without an unknown character."""
    unread = ABSENT if vocabulary.unknown_id is None else vocabulary.unknown_id
    return int(text.counts()[vocabulary.table(text.header.characters) == unread].sum())


def _last(texts: Sequence[StoredText], count: int) -> list[StoredText]:
    """Returns the last `count` characters of adjoining texts, in pieces."""
    found: list[StoredText] = []
    for text in reversed(texts):
        found.insert(0, text[max(len(text) - count, 0) :])
        count -= len(found[0])
    return found


def _joined(texts: Sequence[StoredText], vocabulary: Vocabulary) -> Ids:
    """Returns the ids of adjoining texts without the characters that the vocabulary does not have.

    They stay in their file if they adjoin there and nothing is left out.
    """
    tables = [vocabulary.table(text.header.characters) for text in texts]
    are_one = all(one.is_followed_by(other) for one, other in itertools.pairwise(texts))
    if are_one and (vocabulary.has_unknown or not any(_num_unknown(text, vocabulary) for text in texts)):
        return Ids.of_text(dataclasses.replace(texts[-1], start=texts[0].start), tables[-1])
    known = [
        ids[ids != ABSENT].astype(vocabulary.dtype)
        for text, table in zip(texts, tables, strict=True)
        for ids in map(table.__getitem__, text.pieces())
    ]
    return Ids.of(np.concatenate(known))


def _sha256(parts: Parts) -> str:
    """Returns the SHA-256 of the parts in UTF-8, with NUL between two."""
    digest = hashlib.sha256()
    for number, part in enumerate(parts):
        digest.update(b'\0' if number else b'')
        part.add_to(digest)
    return digest.hexdigest()


def _load_part(data: DataConfig, part: str) -> corpus.Corpus:
    name = f'{part}_corpus'
    try:
        return corpus.load(dataclasses.replace(data, corpus=getattr(data, name), max_characters=0))
    except InputError as error:
        raise InputError(f'--{name}: {str(error).replace("--corpus", f"--{name}")}') from error
