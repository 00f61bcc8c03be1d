"""Generates text from a prefix; the trainer and the exported artifact use the same graph."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from data.vocabulary import Vocabulary
from pipeline import checks
from pipeline.cells import State
from pipeline.limits import Limits
from pipeline.model import CharRNN, transposed
from pipeline.samplers import sample

SIGNATURE = (
    tf.TensorSpec([None], tf.string, 'prefix'),
    tf.TensorSpec([None], tf.int32, 'length'),
    tf.TensorSpec([None], tf.float32, 'temperature'),
    tf.TensorSpec([None], tf.int32, 'top_k'),
    tf.TensorSpec([None], tf.float32, 'top_p'),
    tf.TensorSpec([None], tf.int64, 'seed'),
)


class Generator(tf.Module):
    """Continues each of N prefixes by its number of characters.

    The text of a row never depends on the other rows: prefixes may differ in length, and each row has its own random
    numbers, which its seed determines.
    """

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, limits: Limits | None = None):
        """`limits` bound the prefixes and lengths of an exported model; None: no bounds."""
        super().__init__()
        self.model = model
        self.vocabulary = vocabulary
        self._limits = limits
        self._compiled = tf.function(self.__call__, input_signature=SIGNATURE)

    def texts(
        self,
        prefixes: Sequence[str],
        length: int,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Returns the texts for prefixes with the same knobs; row n uses the seed `seed + n`."""
        rows = len(prefixes)
        text, _ = self._compiled(
            tf.constant(prefixes, tf.string),
            tf.fill([rows], length),
            tf.fill([rows], temperature),
            tf.fill([rows], top_k),
            tf.fill([rows], top_p),
            seed + tf.range(rows, dtype=tf.int64),
        )
        return [one.decode() for one in text.numpy()]

    def __call__(
        self,
        prefix: tf.Tensor,
        length: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Generates, in the graph. All arguments and results are `[N]`; the knobs are those of `samplers.sample`.

        Args:
          prefix: string, UTF-8, from one character to the limit. A new character is read as the unknown character if
            the vocabulary contains that, and is an error otherwise.
          length: int32, the number of characters to add, from 0 to the limit.
          temperature: float32, 0 or more. 0: greedy.
          top_k: int32, 0 or more. 0: off.
          top_p: float32, above 0 and at most 1. 1: off.
          seed: int64, determines the random numbers of the row.

        Returns:
          text: string, the given prefix and the added characters, which are never the unknown character.
          log_likelihood: float32, nats, the sum of ln p of the added characters under the model, independent of
            temperature, top_k and top_p. Probabilities are not renormalised after U+FFFD is masked, so this is also
            the log likelihood that scoring the finished text gives.

        Raises:
          InvalidArgumentError (when run): a value breaks its rule; the message names the argument and the row.
        """
        ids, prefix_length, length = self.checked(prefix, length, temperature, top_k, top_p, seed)
        uniform = uniform_numbers(seed, tf.maximum(tf.reduce_max(length), 1))

        def choose(logits: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
            known = mask_unknown(logits, self.vocabulary.unknown_id)
            return sample(known, tf.gather(uniform, position, batch_dims=1), temperature, top_k, top_p)

        state = self.model.zero_state(tf.shape(prefix)[0])
        ids, log_likelihood = generate_ids(self.model.stepper(), state, ids, prefix_length, length, choose)
        added = self.vocabulary.decode_tensor(_columns(ids, prefix_length, tf.reduce_max(length)), length)
        return tf.strings.join([prefix, added]), log_likelihood

    def checked(
        self,
        prefix: tf.Tensor,
        length: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Checks the arguments of a call and does not generate.

        Returns:
          ids of the prefixes `[N, P] int32`, their lengths `[N]`, and `length`; they depend on the checks.

        Raises:
          InvalidArgumentError (when run): as a call.
        """
        knobs = {'length': length, 'temperature': temperature, 'top_k': top_k, 'top_p': top_p, 'seed': seed}
        with tf.control_dependencies(checks.rows('prefix', prefix, **knobs)):
            ids = self.vocabulary.encode_tensor(prefix, 'prefix')
        prefix_length = tf.cast(ids.row_lengths(), tf.int32)
        limits = self._limits
        finite = tf.math.is_finite(temperature)
        with tf.control_dependencies(
            [
                checks.within('prefix', prefix_length, 1, limits.max_prefix if limits else None, counts=True),
                checks.within('length', length, 0, limits.max_length if limits else None),
                checks.each('temperature', temperature, (temperature >= 0) & finite, 'be finite, 0 (greedy) or more'),
                checks.each('top_k', top_k, top_k >= 0, 'be 0 (off) or more'),
                checks.each('top_p', top_p, (top_p > 0) & (top_p <= 1), 'be above 0 and at most 1 (off)'),
            ]
        ):
            return ids.to_tensor(), tf.identity(prefix_length), tf.identity(length)


def mask_unknown(logits: tf.Tensor, unknown_id: int | None) -> tf.Tensor:
    """Returns `[N, V]` logits with minus infinity for `unknown_id`, unless that is None."""
    if unknown_id is None:
        return logits
    return tf.where(tf.range(logits.shape[-1]) == unknown_id, float('-inf'), logits)


def generate_ids(
    step: Callable[[tf.Tensor, State], tuple[tf.Tensor, State]],
    state: State,
    prefix: tf.Tensor,
    prefix_length: tf.Tensor,
    length: tf.Tensor,
    choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Feeds each row its prefix, character by character, and then the ids that `choose` returns for the logits.

    Args:
      step: `(ids [N], state) -> (logits [N, V], state)`.
      state: the state before the first character.
      prefix: ids, `[N, P] int32`.
      prefix_length: `[N] int32`, the number of ids in the prefix of each row, one or more.
      length: `[N] int32`, the number of ids to add to each row.
      choose: `(logits [N, V], position [N] int32) -> ids [N] int32`; position counts the added ids of a row
        from 0. It stays within 0 ... max(length)-1 where the choice is not used.

    Returns:
      ids: `[N, max(prefix_length + length)] int32`; after its own end, a row has further generated ids.
      log_likelihood: `[N] float32`, the sum of ln p of the added ids, nats.
    """
    total = prefix_length + length
    num_positions = tf.reduce_max(total)
    last_position = tf.maximum(tf.reduce_max(length) - 1, 0)
    given = tf.pad(prefix, [[0, 0], [0, tf.maximum(num_positions - tf.shape(prefix)[1], 0)]])

    def body(t, ids, state, log_likelihood, written):
        logits, state = step(ids, state)
        position = t - prefix_length
        chosen = choose(logits, tf.clip_by_value(position, 0, last_position))
        ids = tf.where(position >= 0, chosen, given[:, t])
        log_p = -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits)
        log_likelihood += tf.where((position >= 0) & (t < total), log_p, 0.0)
        return t + 1, ids, state, log_likelihood, written.write(t, ids)

    written = tf.TensorArray(tf.int32, num_positions, element_shape=[None])
    first = given[:, 0]
    start = (1, first, state, tf.zeros(tf.shape(total)), written.write(0, first))
    _, _, _, log_likelihood, written = tf.while_loop(lambda t, *_: t < num_positions, body, start)
    return transposed(tf.reshape(written.concat(), [num_positions, -1])), log_likelihood


def _columns(ids: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns `[N, count]`: ids of each row of `[N, M]` from column `first[n]`; past the end the last id repeats."""
    columns = first[:, tf.newaxis] + tf.range(count)
    return tf.gather(ids, tf.minimum(columns, tf.shape(ids)[1] - 1), batch_dims=1)


def uniform_numbers(seed: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns `[N, count]` numbers in [0, 1); `seed[n]` (int64) determines row n, and a larger count extends it."""
    return tf.map_fn(
        lambda one: tf.random.stateless_uniform([count], seed=tf.stack([one, 0]), alg='philox'),
        seed,
        fn_output_signature=tf.TensorSpec([None], tf.float32),
    )
