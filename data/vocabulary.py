"""Characters <-> ids, in Python and in the graph."""

import dataclasses

import numpy as np
import tensorflow as tf

from data.errors import InputError


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The V distinct characters of a corpus in the order of their code points; a character's id is its place there.

    A character is one code point. Being sorted, the vocabulary finds a code point by binary search, in NumPy and in the
    graph alike: there is no table to initialise, and nothing but a constant to export.
    """

    characters: str

    def __post_init__(self):
        if not self.characters or list(self.characters) != sorted(set(self.characters)):
            raise InputError(f'a vocabulary is one or more distinct characters in order, not {self.characters[:20]!r}.')

    @classmethod
    def from_text(cls, text: str) -> 'Vocabulary':
        return cls(''.join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str, name: str = 'text') -> np.ndarray:
        """`text` as ids, `[len(text)] int32`. Raises `InputError` for an unknown character, calling the text `name`."""
        points, known = _code_points(text), _code_points(self.characters)
        ids = np.minimum(np.searchsorted(known, points), len(known) - 1)
        unknown = np.flatnonzero(known[ids] != points)
        if unknown.size:
            character = text[unknown[0]]
            raise InputError(f"{name} contains '{character}' (U+{ord(character):04X}), {self._not_among()}")
        return ids.astype(np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """Ids of any one-dimensional integer array as a string."""
        return ''.join(self.characters[i] for i in ids)

    def encode_tensor(self, text: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """In the graph: `[N]` UTF-8 strings -> ids `[N, P] int32`, filled up with 0, and lengths `[N] int32`.

        Raises:
          InvalidArgumentError (when run): a character is unknown; the message names `name`, its row and the character.
        """
        points = tf.strings.unicode_decode(text, 'UTF-8')
        known = tf.constant(_code_points(self.characters).astype(np.int32))
        ids = points.with_flat_values(tf.minimum(tf.searchsorted(known, points.flat_values), len(self) - 1))
        unknown = tf.not_equal(tf.gather(known, ids.flat_values), points.flat_values)
        with tf.control_dependencies([self._assert_none(unknown, points, name)]):
            return ids.to_tensor(), tf.cast(ids.row_lengths(), tf.int32)

    def decode_tensor(self, ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """In the graph: the first `lengths[n]` ids of row n of `[N, P] int32` -> `[N]` UTF-8 strings."""
        known = tf.constant(_code_points(self.characters).astype(np.int32))
        points = tf.RaggedTensor.from_tensor(tf.gather(known, ids), lengths=lengths)
        return tf.strings.unicode_encode(points, 'UTF-8')

    def _not_among(self) -> str:
        return f'which is not among the {len(self)} characters this model was trained on'

    def _assert_none(self, unknown: tf.Tensor, points: tf.RaggedTensor, name: str) -> tf.Operation:
        """Fails with the first unknown character; `unknown` marks the flat values of `points`."""

        def message() -> tf.Tensor:
            first = tf.argmax(tf.cast(unknown, tf.int32))
            point = points.flat_values[first]
            row = tf.strings.as_string(points.value_rowids()[first])
            character = tf.strings.unicode_encode(point[tf.newaxis], 'UTF-8')
            return tf.strings.join(
                [name, '[', row, "] contains '", character, "' (U+", _hexadecimal(point), '), ', self._not_among()]
            )

        any_unknown = tf.reduce_any(unknown)
        return tf.debugging.Assert(~any_unknown, [tf.cond(any_unknown, message, lambda: '')])


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), dtype='<u4')


def _hexadecimal(point: tf.Tensor) -> tf.Tensor:
    """A code point (scalar int32) in hexadecimal, at least four digits."""
    digits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(point, tf.constant([20, 16, 12, 8, 4, 0])), 15)
    padded = tf.strings.reduce_join(tf.gather(list('0123456789ABCDEF'), digits))
    return tf.strings.regex_replace(padded, '^0{1,2}', '')
