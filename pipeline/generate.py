"""Prefix -> text, with a model: the same graph in the trainer and in the exported artifact."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from data.vocabulary import Vocabulary
from pipeline import checks
from pipeline.cells import State
from pipeline.limits import Limits
from pipeline.model import CharRNN
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
    """Continues each of N prefixes by as many characters as its row asks for.

    A row's text never depends on the rows beside it: the prefixes may have any lengths, and each row has a stream of
    random numbers of its own, fixed by its seed.
    """

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, limits: Limits | None = None):
        """`limits` are for a model that others can call; None: prefixes and lengths may be as long as they like."""
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
        """The texts for some prefixes with the same knobs; row n draws with `seed + n`."""
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
          prefix: string, UTF-8, one character or more, at most the limit. One that the vocabulary has not is read as
            the unknown character where the vocabulary has that, and refused where it has not.
          length: int32, how many characters to add, 0 or more, at most the limit.
          temperature: float32, 0 or more. 0: greedy.
          top_k: int32, 0 or more. 0: off.
          top_p: float32, above 0 and at most 1. 1: off.
          seed: int64, chooses the row's random numbers.

        Returns:
          text: string, the prefix as it was given (what is no UTF-8 in it as U+FFFD) and what follows it, in which the
            unknown character never is, whatever its probability.
          log_likelihood: float32, nats: the sum of ln p of the added characters under the model as it is, whatever
            temperature, top_k and top_p they were drawn with. The share of the unknown character is not handed to the
            others either: so it is what reading the finished text gives, and what evaluation sums.

        Raises:
          InvalidArgumentError (when run): a value breaks its rule; the message names the argument and the row.
        """
        ids, prefix_length, length = self.checked(prefix, length, temperature, top_k, top_p, seed)
        uniform = uniform_numbers(seed, tf.maximum(tf.reduce_max(length), 1))

        def choose(logits: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
            known = without(logits, self.vocabulary.unknown_id)
            return sample(known, tf.gather(uniform, position, batch_dims=1), temperature, top_k, top_p)

        state = self.model.zero_state(tf.shape(prefix)[0])
        ids, log_likelihood = generate_ids(self.model.stepper(), state, ids, prefix_length, length, choose)
        added = self.vocabulary.decode_tensor(_columns(ids, prefix_length, tf.reduce_max(length)), length)
        return tf.strings.join([tf.strings.unicode_transcode(prefix, 'UTF-8', 'UTF-8'), added]), log_likelihood

    def checked(
        self,
        prefix: tf.Tensor,
        length: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """All checks of the arguments of a call, and nothing else of its work.

        Returns:
          the prefixes' ids `[N, P] int32`, how many of them each row has, and `length`: there once the checks hold.

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
                checks.within('prefix', prefix_length, 1, limits and limits.max_prefix, counts=True),
                checks.within('length', length, 0, limits and limits.max_length),
                checks.each('temperature', temperature, (temperature >= 0) & finite, 'be finite, 0 (greedy) or more'),
                checks.each('top_k', top_k, top_k >= 0, 'be 0 (off) or more'),
                checks.each('top_p', top_p, (top_p > 0) & (top_p <= 1), 'be above 0 and at most 1 (off)'),
            ]
        ):
            return ids.to_tensor(), tf.identity(prefix_length), tf.identity(length)


def without(logits: tf.Tensor, unknown_id: int | None) -> tf.Tensor:
    """`[N, V]` logits with probability 0, a logit of minus infinity, for `unknown_id`, where there is one."""
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
    """Feeds each row its prefix a character at a time, then what `choose` makes of the logits.

    Args:
      step: `(ids [N], state) -> (logits [N, V], state)`.
      state: the state before the first character.
      prefix: ids, `[N, P] int32`.
      prefix_length: `[N] int32`, how many of its P ids each row has, one or more.
      length: `[N] int32`, how many ids to add to each row.
      choose: `(logits [N, V], position [N] int32) -> ids [N] int32`; position counts a row's added ids from 0, and
        stays inside 0 ... max(length)-1 where the row's choice is not used.

    Returns:
      ids: `[N, max(prefix_length + length)] int32`; behind a row's own end stands what the row would go on with.
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
    # [M, N] -> [N, M] by a gather: on some CPUs oneDNN prints an error line for each transpose of integers.
    rows = tf.shape(prefix)[0]
    by_row = tf.range(rows)[:, tf.newaxis] + tf.range(num_positions) * rows
    return tf.gather(written.concat(), by_row), log_likelihood


def _columns(ids: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """`[N, count]`: of row n of `[N, M]` the ids from place `first[n]` on; behind the row's end, its last again."""
    places = first[:, tf.newaxis] + tf.range(count)
    return tf.gather(ids, tf.minimum(places, tf.shape(ids)[1] - 1), batch_dims=1)


def uniform_numbers(seed: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """`[N, count]` numbers in [0, 1): row n's are fixed by `seed[n]` (int64), and a larger count only adds to them."""
    return tf.map_fn(
        lambda one: tf.random.stateless_uniform([count], seed=tf.stack([one, 0]), alg='philox'),
        seed,
        fn_output_signature=tf.TensorSpec([None], tf.float32),
    )
