"""Characters <-> ids, in Python and in the graph."""

import collections
import dataclasses
import unicodedata

import numpy as np
import tensorflow as tf

from data.errors import InputError
from data.stored_text import code_points, smallest_dtype

UNKNOWN = '\N{REPLACEMENT CHARACTER}'
"""U+FFFD, the unknown character of a vocabulary that has one."""

ABSENT = -1
"""In place of the id of a character that a vocabulary does not have."""

_NO_LINE_BREAK = ' A model that is trained with --newlines=keep knows the line breaks of its text.'


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The V distinct characters of a corpus, sorted by code point; the id of a character is its index.

    A character is one code point. Lookup is a binary search in the sorted code points, in NumPy and in the graph: the
    export needs no lookup table, only a constant.

    A vocabulary that has an unknown character, U+FFFD, reads every new character as U+FFFD. Without one it refuses new
    characters, and U+FFFD is an ordinary character if the corpus contains it.
    """

    characters: str
    has_unknown: bool = False

    def __post_init__(self):
        if self.has_unknown and UNKNOWN not in self.characters:
            raise InputError('a vocabulary with an unknown character must contain U+FFFD.')
        if not self.characters or list(self.characters) != sorted(set(self.characters)):
            raise InputError(f'a vocabulary must be distinct characters in sorted order, not {self.characters[:20]!r}.')

    @classmethod
    def from_text(cls, text: str, min_count: int = 1) -> 'Vocabulary':
        """Returns the vocabulary of the characters of `text`; see `from_counts`."""
        counts = collections.Counter(text)
        return cls.from_counts(''.join(counts), np.array(list(counts.values())), min_count)

    @classmethod
    def from_counts(cls, characters: str, counts: np.ndarray, min_count: int = 1) -> 'Vocabulary':
        """Returns the vocabulary of the characters that occur at least `min_count` times.

        If and only if `min_count` is above 1, the vocabulary has an unknown character: the treatment of new characters
        does not depend on the text.

        Args:
          characters: distinct ones.
          counts: the occurrences of each, `[len(characters)]`.
          min_count: 1 or more.

        Raises:
          InputError: no character occurs `min_count` times.
        """
        unknown = {UNKNOWN} if min_count > 1 else set()
        frequent = {characters[n] for n in np.flatnonzero(counts >= min_count)} - unknown
        if not frequent:
            raise InputError(
                f'min_count={min_count} leaves no character: none occurs that often in the {counts.sum():,} characters '
                f'of the training part. Lower --min_count.'
            )
        return cls(''.join(sorted(frequent | unknown)), bool(unknown))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def unknown_id(self) -> int | None:
        """The id of the unknown character; None if the vocabulary does not have one."""
        return self.characters.index(UNKNOWN) if self.has_unknown else None

    @property
    def dtype(self) -> type[np.integer]:
        """The smallest integer type that holds all ids."""
        return smallest_dtype(len(self))

    def encode(self, text: str, name: str = 'text') -> np.ndarray:
        """Returns the ids of `text`, `[len(text)] int32`.

        Raises:
          InputError: `text` (`name` in the message) has a character outside a vocabulary without an unknown character.
        """
        ids = self.table(text)
        if (ids == ABSENT).any():
            character = text[(ids == ABSENT).argmax()]
            hint = _NO_LINE_BREAK if character == '\n' else self._hint(text)
            raise InputError(f'{name} contains {described(character)}, {self._not_among()}.{hint}')
        return ids

    def knows(self, text: str) -> bool:
        """Returns whether the vocabulary contains every character of `text`."""
        return set(text) <= set(self.characters)

    def table(self, characters: str) -> np.ndarray:
        """Returns the id of each of `characters`, `[n] int32`.

        That of a character outside the vocabulary is the id of U+FFFD if the vocabulary has an unknown character, else
        `ABSENT`.
        """
        points, known = code_points(characters), code_points(self.characters)
        ids = np.minimum(np.searchsorted(known, points), len(known) - 1)
        new = ABSENT if self.unknown_id is None else self.unknown_id
        return np.where(known[ids] == points, ids, new).astype(np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """Returns the string of a one-dimensional integer array of ids."""
        return ''.join(self.characters[i] for i in ids)

    def encode_tensor(self, text: tf.Tensor, name: str) -> tf.RaggedTensor:
        """Encodes `[N]` UTF-8 strings in the graph: ids `[N, None] int32`, ragged.

        Check the row lengths before you pad the result: padding takes memory for N times the longest row.

        Raises:
          InvalidArgumentError (when run): a string is not valid UTF-8, or as `encode`; the message gives `name`, the
            row and the character.
        """
        with tf.control_dependencies([_assert_utf8(text, name)]):
            points = tf.strings.unicode_decode(text, 'UTF-8')
        known = tf.constant(code_points(self.characters).astype(np.int32))
        flat_ids = tf.minimum(tf.searchsorted(known, points.flat_values), len(self) - 1)
        absent = tf.not_equal(tf.gather(known, flat_ids), points.flat_values)
        if self.unknown_id is None:
            checks = [self._assert_none(absent, points, name)]
        else:
            checks, flat_ids = [], tf.where(absent, self.unknown_id, flat_ids)
        with tf.control_dependencies(checks):
            return points.with_flat_values(tf.identity(flat_ids))

    def decode_tensor(self, ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Decodes in the graph: the first `lengths[n]` ids of row n of `[N, P] int32` -> `[N]` UTF-8 strings."""
        known = tf.constant(code_points(self.characters).astype(np.int32))
        points = tf.RaggedTensor.from_tensor(tf.gather(known, ids), lengths=lengths)
        return tf.strings.unicode_encode(points, 'UTF-8')

    def _hint(self, text: str) -> str:
        """Returns a sentence if the vocabulary has all characters of another normal form of `text`."""
        for form in ('NFC', 'NFD'):
            if self.knows(unicodedata.normalize(form, text)):
                return f' Unicode writes this text in two ways; the model knows the other one: write it in {form}.'
        return ''

    def _not_among(self) -> str:
        return f'which is not among the {len(self)} characters this model was trained on'

    def _assert_none(self, absent: tf.Tensor, points: tf.RaggedTensor, name: str) -> tf.Operation:
        """Asserts that no flat value of `points` is `absent`; the message names the first one."""

        def message() -> tf.Tensor:
            first = tf.argmax(tf.cast(absent, tf.int32))
            point = points.flat_values[first]
            row = tf.strings.as_string(tf.searchsorted(points.row_splits, first[tf.newaxis], side='right')[0] - 1)
            character = tf.strings.unicode_encode(point[tf.newaxis], 'UTF-8')
            character = tf.strings.regex_replace(character, '\n', r'\\n')  # so that the message is one line
            return tf.strings.join(
                [name, '[', row, "] contains '", character, "' (U+", _hexadecimal(point), '), ', self._not_among()]
            )

        any_absent = tf.reduce_any(absent)
        return tf.debugging.Assert(~any_absent, [tf.cond(any_absent, message, lambda: '')])


def _assert_utf8(text: tf.Tensor, name: str) -> tf.Operation:
    valid = tf.equal(text, tf.strings.unicode_transcode(text, 'UTF-8', 'UTF-8'))
    all_valid = tf.reduce_all(valid)

    def message() -> tf.Tensor:
        return tf.strings.format(f'{name}[{{}}] is not valid UTF-8', tf.argmin(tf.cast(valid, tf.int32)))

    return tf.debugging.Assert(all_valid, [tf.cond(all_valid, lambda: '', message)])


def described(character: str) -> str:
    """Returns a character with its code point, and its name if it has no shape of its own."""
    category = unicodedata.category(character)[0]
    quoted = repr(character) if category in 'ZC' else f"'{character}'"
    name = unicodedata.name(character, '') if category in 'MZC' else ''
    return f'{quoted} (U+{ord(character):04X}{" " if name else ""}{name})'


def _hexadecimal(point: tf.Tensor) -> tf.Tensor:
    """Returns a code point (scalar int32) in hexadecimal, with at least four digits."""
    digits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(point, tf.constant([20, 16, 12, 8, 4, 0])), 15)
    padded = tf.strings.reduce_join(tf.gather(list('0123456789ABCDEF'), digits))
    return tf.strings.regex_replace(padded, '^0{1,2}', '')
