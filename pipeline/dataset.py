"""The texts of a run, encoded: the parts that it trains on and is evaluated on."""

import dataclasses
import re

import numpy as np

from data import corpus
from data.chunks import chunks
from data.encodings import without_byte_order_marks
from data.errors import InputError
from data.split import Parts, split
from data.vocabulary import Vocabulary
from pipeline.config import PARTS, DataConfig, TrainingConfig

_LONGEST_FIRST_WORD = 10  # characters; some scripts do not separate words
CONTEXT = 1000  # characters; a state that has read so many no longer depends on where it started


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """A text in the ids of a vocabulary, after the characters that precede it.

    A model that starts to read from a zero state can predict badly for thousands of characters. So it reads the
    characters before a held-out part first.
    """

    ids: np.ndarray
    """`[K] int32`, the context and the text."""
    num_context: int
    """Of these ids; they are read and not counted."""
    num_characters: int
    """Of the text."""
    num_unknown: int
    """Characters outside the vocabulary; `ids` has U+FFFD for them or leaves them out (`Vocabulary.encode_any`)."""

    @classmethod
    def from_text(cls, text: str, vocabulary: Vocabulary, name: str, before: str = '') -> 'EncodedText':
        """Encodes `text`, which error messages call `name`, after the end of the text `before`.

        Raises:
          InputError: fewer than two characters can be encoded, so that none can be predicted.
        """
        context, _ = vocabulary.encode_any(before[-CONTEXT:])
        ids, num_unknown = vocabulary.encode_any(text)
        if len(ids) < 2:
            raise InputError(
                f'{name} is too short to evaluate: the vocabulary has {len(ids)} of its {len(text):,} characters, and '
                f'evaluation needs 2, one to start from and one to predict. Give a longer text.'
            )
        return cls(np.concatenate([context, ids]), len(context), len(text), num_unknown)

    def beginning(self, count: int) -> 'EncodedText':
        """Returns the text with only its first `count` ids to predict; 0: with all."""
        return dataclasses.replace(self, ids=self.ids[: self.num_context + count]) if count else self

    @property
    def unknown_rate(self) -> float:
        """Fraction of the characters that are outside the vocabulary."""
        return self.num_unknown / self.num_characters

    @property
    def targets(self) -> np.ndarray:
        """The ids that a model predicts: those of the text, without the first if nothing precedes it."""
        return self.ids[max(self.num_context, 1) :]


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
        source = load_corpus(data)
        others = {part: _load_part(data, part) for part in PARTS if getattr(data, f'{part}_corpus')}
        found = {part: other.text for part, other in others.items()}
        parts = split(source.text, data.valid_fraction, data.test_fraction)._replace(**found)
        can_be_read_again = all(one.can_be_read_again for one in (source, *others.values()))
        source = dataclasses.replace(source, can_be_read_again=can_be_read_again)
        # The ends of parts of one text do not count: they follow from the settings.
        return cls(source, parts, corpus.text_sha256('\0'.join(parts) if others else source.text))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The corpus of a run."""

    source: corpus.Corpus
    sha256: str
    """Of all parts."""
    training_text: str
    vocabulary: Vocabulary
    ids: np.ndarray
    """`[N]`, the training part, in the smallest type of integers."""
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
        parts = texts.parts
        vocabulary = Vocabulary.from_text(parts.training, data.min_count)
        valid = None
        if parts.valid:
            valid = EncodedText.from_text(parts.valid, vocabulary, 'the validation part', parts.training)
        ids = vocabulary.encode(parts.training, dtype=vocabulary.dtype)
        return cls(texts.source, texts.sha256, parts.training, vocabulary, ids, valid, len(parts.test))

    @property
    def counts(self) -> tuple[int, ...]:
        """Occurrences of each character of the vocabulary in the training part, by id."""
        counts = np.zeros(len(self.vocabulary), np.int64)
        for chunk in chunks(self.ids):
            counts += np.bincount(chunk, minlength=len(counts))
        return tuple(counts.tolist())

    def usable_prefixes(self, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        """Returns `prefixes` without byte order marks.

        If the text lacks characters of the default prefixes, its first word replaces them.

        Raises:
          InputError: a prefix of the user has a character outside the vocabulary, and the vocabulary does not have an
            unknown character.
        """
        if prefixes == TrainingConfig.prefixes and not all(self.vocabulary.knows(prefix) for prefix in prefixes):
            first_word = re.search(rf'\S{{1,{_LONGEST_FIRST_WORD}}}', self.training_text)
            return (first_word[0] if first_word else self.training_text[:_LONGEST_FIRST_WORD],)
        prefixes = tuple(map(without_byte_order_marks, prefixes))
        for prefix in prefixes:
            self.vocabulary.encode(prefix, f'prefix {prefix!r}')
        return prefixes


def _load_part(data: DataConfig, part: str) -> corpus.Corpus:
    name = f'{part}_corpus'
    try:
        return load_corpus(dataclasses.replace(data, corpus=getattr(data, name), max_characters=0))
    except InputError as error:
        raise InputError(f'--{name}: {str(error).replace("--corpus", f"--{name}")}') from error


def load_corpus(data: DataConfig) -> corpus.Corpus:
    """Returns the corpus of `data`. Raises `InputError` if it cannot be read."""
    return corpus.load(
        data.corpus,
        encoding=data.encoding,
        encoding_errors=data.encoding_errors,
        newlines=data.newlines,
        max_characters=data.max_characters,
    )
