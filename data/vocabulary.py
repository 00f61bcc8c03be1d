"""Characters <-> ids, in Python and in the graph."""

import collections
import dataclasses

import numpy as np
import tensorflow as tf

from data.errors import InputError

UNKNOWN = '\N{REPLACEMENT CHARACTER}'
"""U+FFFD, Unicode's own sign for a character that cannot be shown: what a vocabulary that has it reads others as."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The V distinct characters of a corpus in the order of their code points; a character's id is its place there.

    A character is one code point. Being sorted, the vocabulary finds a code point by binary search, in NumPy and in the
    graph alike: there is no table to initialise, and nothing but a constant to export.

    A vocabulary with U+FFFD in it reads every character that it has not as that one, the *unknown* character; a
    vocabulary without it refuses such a character by name.
    """

    characters: str

    def __post_init__(self):
        if not self.characters or list(self.characters) != sorted(set(self.characters)):
            raise InputError(f'a vocabulary is one or more distinct characters in order, not {self.characters[:20]!r}.')

    @classmethod
    def from_text(cls, text: str, min_count: int = 1) -> 'Vocabulary':
        """The characters that `text` has `min_count` times or more.

        Above 1 there is always U+FFFD too, even if no character is so rare: what such a run does with a new character
        does not hang on the accident of its text.

        Raises:
          InputError: no character is that frequent.
        """
        frequent = {c for c, count in collections.Counter(text).items() if count >= min_count} - {UNKNOWN}
        if not frequent:
            raise InputError(
                f'min_count={min_count} leaves no character: none occurs that often in the {len(text):,} characters to '
                f'learn from. Lower --min_count.'
            )
        return cls(''.join(sorted(frequent | ({UNKNOWN} if min_count > 1 or UNKNOWN in text else set()))))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def unknown_id(self) -> int | None:
        """The id of U+FFFD, where there is one."""
        return self.characters.index(UNKNOWN) if UNKNOWN in self.characters else None

    def encode(self, text: str, name: str = 'text') -> np.ndarray:
        """`text` as ids, `[len(text)] int32`.

        Raises:
          InputError: `text` (called `name`) has a character that the vocabulary has not, and there is no U+FFFD to
            read it as.
        """
        ids, absent = self._look_up(text)
        if absent.any() and self.unknown_id is None:
            character = text[absent.argmax()]
            raise InputError(f"{name} contains '{character}' (U+{ord(character):04X}), {self._not_among()}")
        return ids

    def encode_any(self, text: str) -> tuple[np.ndarray, int]:
        """Text that the model was not trained on: its ids, `[K] int32`, and how many of its characters are unknown.

        With U+FFFD in the vocabulary, an unknown character is read as that, and K = len(text). Without it a model gives
        such a character no probability at all and has no weights to read it with: it is left out, as if it did not
        stand in the text. The other rule in use, to add U+FFFD when the held-out part needs it, would let that part
        change the model, and put a character into every sum whose weights no training text ever moved.
        """
        ids, absent = self._look_up(text)
        if self.unknown_id is None:
            return ids[~absent], int(absent.sum())
        return ids, int(np.sum(ids == self.unknown_id))

    def knows(self, text: str) -> bool:
        """Whether every character of `text` is one of the vocabulary, none read as unknown."""
        return not self._look_up(text)[1].any()

    def decode(self, ids: np.ndarray) -> str:
        """Ids of any one-dimensional integer array as a string."""
        return ''.join(self.characters[i] for i in ids)

    def encode_tensor(self, text: tf.Tensor, name: str) -> tf.RaggedTensor:
        """In the graph: `[N]` UTF-8 strings -> ids `[N, None] int32`, each row as long as its string.

        It takes memory for the characters that there are: whoever fills the rows up to the longest checks that first.

        Raises:
          InvalidArgumentError (when run): as `encode`; the message names `name`, its row and the character.
        """
        points = tf.strings.unicode_decode(text, 'UTF-8')
        known = tf.constant(_code_points(self.characters).astype(np.int32))
        flat_ids = tf.minimum(tf.searchsorted(known, points.flat_values), len(self) - 1)
        absent = tf.not_equal(tf.gather(known, flat_ids), points.flat_values)
        if self.unknown_id is None:
            checks = [self._assert_none(absent, points, name)]
        else:
            checks, flat_ids = [], tf.where(absent, self.unknown_id, flat_ids)
        with tf.control_dependencies(checks):
            return points.with_flat_values(tf.identity(flat_ids))

    def decode_tensor(self, ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """In the graph: the first `lengths[n]` ids of row n of `[N, P] int32` -> `[N]` UTF-8 strings."""
        known = tf.constant(_code_points(self.characters).astype(np.int32))
        points = tf.RaggedTensor.from_tensor(tf.gather(known, ids), lengths=lengths)
        return tf.strings.unicode_encode(points, 'UTF-8')

    def _look_up(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids `[len(text)] int32`, U+FFFD's where a character is absent, and where one is, `[len(text)] bool`."""
        points, known = _code_points(text), _code_points(self.characters)
        ids = np.minimum(np.searchsorted(known, points), len(known) - 1)
        absent = known[ids] != points
        if self.unknown_id is not None:
            ids[absent] = self.unknown_id
        return ids.astype(np.int32), absent

    def _not_among(self) -> str:
        return f'which is not among the {len(self)} characters this model was trained on'

    def _assert_none(self, absent: tf.Tensor, points: tf.RaggedTensor, name: str) -> tf.Operation:
        """Fails with the first absent character; `absent` marks the flat values of `points`."""

        def message() -> tf.Tensor:
            first = tf.argmax(tf.cast(absent, tf.int32))
            point = points.flat_values[first]
            row = tf.strings.as_string(tf.searchsorted(points.row_splits, first[tf.newaxis], side='right')[0] - 1)
            character = tf.strings.unicode_encode(point[tf.newaxis], 'UTF-8')
            return tf.strings.join(
                [name, '[', row, "] contains '", character, "' (U+", _hexadecimal(point), '), ', self._not_among()]
            )

        any_absent = tf.reduce_any(absent)
        return tf.debugging.Assert(~any_absent, [tf.cond(any_absent, message, lambda: '')])


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), dtype='<u4')


def _hexadecimal(point: tf.Tensor) -> tf.Tensor:
    """A code point (scalar int32) in hexadecimal, at least four digits."""
    digits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(point, tf.constant([20, 16, 12, 8, 4, 0])), 15)
    padded = tf.strings.reduce_join(tf.gather(list('0123456789ABCDEF'), digits))
    return tf.strings.regex_replace(padded, '^0{1,2}', '')
