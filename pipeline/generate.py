"""Generates text from a prefix; the trainer and the exported artifact use the same graph."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from data.vocabulary import Vocabulary
from pipeline import checks
from pipeline.cells import State
from pipeline.limits import Limits
from pipeline.log_probabilities import LogProbability, log_largest_probability, log_probability
from pipeline.model import CharRNN, Stepper, transposed
from pipeline.samplers import Draw, greedy, sampler

SIGNATURE = (
    tf.TensorSpec([None], tf.string, 'prefix'),
    tf.TensorSpec([None], tf.int32, 'length'),
    tf.TensorSpec([None], tf.float32, 'temperature'),
    tf.TensorSpec([None], tf.int32, 'top_k'),
    tf.TensorSpec([None], tf.float32, 'top_p'),
    tf.TensorSpec([None], tf.string, 'stop'),
    tf.TensorSpec([None], tf.int64, 'seed'),
)

_FEWEST_ROWS = 8
"""Rows of each of two loops that run at the same time. Two smaller ones end sooner than one, but they take more of a
CPU that has other requests, too."""
_NOTHING = -1  # where no id is: before the generated ids of a row, and before its stop ids


class Request(NamedTuple):
    """The checked rows of a request, encoded."""

    prefix: tf.Tensor
    """`[N, P] int32`, ids; padded."""
    prefix_length: tf.Tensor
    """`[N] int32`, the number of ids in the prefix of each row, one or more."""
    length: tf.Tensor
    """`[N] int32`, the largest number of ids to add to each row."""
    stop: tf.Tensor
    """`[N, M] int32`, ids that end a row as soon as it has generated them; padded."""
    stop_length: tf.Tensor
    """`[N] int32`, the number of ids in the stop of each row. 0: none."""


class Generated(NamedTuple):
    """Generated rows."""

    ids: tf.Tensor
    """`[N, T] int32`, the added ids. After its length, a row has ids without meaning."""
    length: tf.Tensor
    """`[N] int32`, the number of ids that were added to each row."""
    log_likelihood: tf.Tensor
    """`[N] float32`, the sum of ln p of the added ids, nats."""


class Generator:
    """Continues each of N prefixes by its number of characters.

    The text of a row never depends on the other rows: prefixes may differ in length, and each row has its own random
    numbers, which its seed determines.
    """

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, limits: Limits | None = None):
        """`limits` bound the prefixes and lengths of an exported model; None: no bounds."""
        self.model = model
        self.vocabulary = vocabulary
        self._limits = limits
        # For texts without a stop, greedy or sampled. One loop is built in a third of the time of all four.
        self._compiled = {
            sampled: tf.function(
                partial(self.__call__, sampled=sampled, with_stop=False), input_signature=SIGNATURE, autograph=False
            )
            for sampled in (False, True)
        }

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
        text, _ = self._compiled[temperature > 0](
            tf.constant(prefixes, tf.string),
            tf.fill([rows], length),
            tf.fill([rows], temperature),
            tf.fill([rows], top_k),
            tf.fill([rows], top_p),
            tf.fill([rows], ''),
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
        stop: tf.Tensor,
        seed: tf.Tensor,
        *,
        sampled: bool | None = None,
        with_stop: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Generates, in the graph. All arguments and results are `[N]`; the knobs are those of `sampler`.

        Args:
          prefix: string, UTF-8, from one character to the limit. A new character is read as the unknown character if
            the vocabulary contains that, and is an error otherwise.
          length: int32, the largest number of characters to add, from 0 to the limit.
          temperature: float32, 0 or more. 0: greedy.
          top_k: int32, 0 or more. 0: off.
          top_p: float32, above 0 and at most 1. 1: off.
          stop: string, UTF-8; the text ends after its first occurrence in the added characters. Empty: none.
          seed: int64, determines the random numbers of the row.
          sampled: whether a row may have a temperature above 0, if that is known when the graph is built.
          with_stop: whether a row may have a stop, if that is known when the graph is built.

        Returns:
          text: string, the given prefix and the added characters, which are never the unknown character.
          log_likelihood: float32, nats, the sum of ln p of the added characters under the model, independent of
            temperature, top_k and top_p. Probabilities are not renormalised after U+FFFD is masked, so this is also
            the log likelihood that scoring the finished text gives.

        Raises:
          InvalidArgumentError (when run): a value breaks its rule; the message names the argument and the row.
        """
        request = self.checked(prefix, length, temperature, top_k, top_p, stop, seed)
        stepper = self.model.stepper()

        @tf.function(autograph=False)
        def continued(first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.nest.map_structure(lambda column: column[first:last], (request, temperature, top_k, top_p, seed))
            return self._continued(stepper, *rows, sampled=sampled, with_stop=with_stop)

        # Two loops run at the same time on two cores; the second one has no row if there are few.
        num_rows = tf.shape(prefix)[0]
        middle = tf.where(num_rows < 2 * _FEWEST_ROWS, num_rows, (num_rows + 1) // 2)
        texts, log_likelihoods = zip(continued(tf.constant(0), middle), continued(middle, num_rows), strict=True)
        return tf.strings.join([prefix, tf.concat(texts, 0)]), tf.concat(log_likelihoods, 0)

    def _continued(
        self,
        stepper: Stepper,
        request: Request,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
        *,
        sampled: bool | None,
        with_stop: bool | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the added texts of the rows, `[N] string`, and their log likelihoods."""

        def generate(sampled: bool, with_stop: bool) -> Generated:
            uniform = uniform_numbers(seed, _largest_or_1(request.length)) if sampled else None
            draw = sampler(uniform, temperature, top_k, top_p) if sampled else lambda logits, position: greedy(logits)
            unknown_id = self.vocabulary.unknown_id
            return generate_ids(
                stepper,
                self.model.zero_state(tf.shape(request.length)[0]),
                request,
                lambda logits, position: draw(mask_unknown(logits, unknown_id), position),
                log_probability if sampled or unknown_id is not None else log_largest_probability,
                sampled=sampled,
                with_stop=with_stop,
            )

        # A loop has only what its rows ask for: at each step of a small model, an unused sampler takes almost as
        # long as the model, and the search for a stop half as long.
        found = _either(
            tf.reduce_any(temperature > 0) if sampled is None else sampled,
            lambda sampled: _either(
                tf.reduce_any(request.stop_length > 0) if with_stop is None else with_stop,
                lambda with_stop: generate(sampled, with_stop),
            ),
        )
        return self.vocabulary.decode_tensor(found.ids, found.length), found.log_likelihood

    def checked(
        self,
        prefix: tf.Tensor,
        length: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        stop: tf.Tensor,
        seed: tf.Tensor,
    ) -> Request:
        """Checks the arguments of a call and does not generate; the result depends on the checks.

        Raises:
          InvalidArgumentError (when run): as a call.
        """
        knobs = {'length': length, 'temperature': temperature, 'top_k': top_k, 'top_p': top_p, 'stop': stop}
        with tf.control_dependencies(checks.rows('prefix', prefix, **knobs, seed=seed)):
            ids = self.vocabulary.encode_tensor(prefix, 'prefix')
            stop_ids = self.vocabulary.encode_tensor(stop, 'stop')
        prefix_length, stop_length = (tf.cast(ragged.row_lengths(), tf.int32) for ragged in (ids, stop_ids))
        limits = self._limits
        unknown_id = -1 if self.vocabulary.unknown_id is None else self.vocabulary.unknown_id
        num_unknown = tf.reduce_sum(tf.cast(tf.equal(stop_ids, unknown_id), tf.int32), axis=1)
        finite = tf.math.is_finite(temperature)
        with tf.control_dependencies(
            [
                checks.within('prefix', prefix_length, 1, limits.max_prefix if limits else None, counts=True),
                checks.within('length', length, 0, limits.max_length if limits else None),
                checks.each('temperature', temperature, (temperature >= 0) & finite, 'be finite, 0 (greedy) or more'),
                checks.each('top_k', top_k, top_k >= 0, 'be 0 (off) or more'),
                checks.each('top_p', top_p, (top_p > 0) & (top_p <= 1), 'be above 0 and at most 1 (off)'),
                checks.within('stop', stop_length, 0, limits.max_length if limits else None, counts=True),
                checks.each(
                    'stop',
                    num_unknown,
                    num_unknown == 0,
                    'have none',
                    'has {} characters that the model cannot generate',
                ),
            ]
        ):
            return Request(
                ids.to_tensor(),
                tf.identity(prefix_length),
                tf.identity(length),
                stop_ids.to_tensor(),
                tf.identity(stop_length),
            )


def _either(condition: bool | tf.Tensor, branch: Callable[[bool], Generated]) -> Generated:
    """Returns `branch(condition)`. If the condition is not known when the graph is built, it has both branches."""
    if isinstance(condition, bool):
        return branch(condition)

    def function(value: bool) -> Callable[[], Generated]:
        # Not inlined: TensorFlow neither prepares the other branch nor passes through its operations.
        return tf.function(lambda: branch(value), autograph=False, experimental_attributes={'_noinline': True})

    return tf.cond(condition, function(True), function(False))


def mask_unknown(logits: tf.Tensor, unknown_id: int | None) -> tf.Tensor:
    """Returns `[N, V]` logits with minus infinity for `unknown_id`, unless that is None."""
    if unknown_id is None:
        return logits
    return logits + tf.where(tf.range(logits.shape[-1]) == unknown_id, float('-inf'), 0.0)


def generate_ids(
    stepper: Stepper,
    state: State,
    request: Request,
    draw: Draw,
    log_p_of: LogProbability,
    *,
    sampled: bool = False,
    with_stop: bool = True,
) -> Generated:
    """Reads the prefixes, and then feeds each row the ids that `draw` returns for the logits.

    The loop ends when all rows have ended, by their length or by their stop. All rows wait for the longest prefix: the
    steps are those of the longest prefix, which are cheaper, and of the largest length.

    Args:
      stepper: reads a character, and predicts the next.
      state: the state before the first character.
      request: the rows.
      draw: chooses the ids; the position counts the added ids from 0.
      log_p_of: returns their ln p under the logits.
      sampled: whether `draw` is a sampler; the next step then waits for it, which is faster and changes no result.
      with_stop: whether to look for the stops of the rows; without, they are ignored.
    """
    last, state = _read_prefix(stepper, state, request)
    longest = _largest_or_1(request.length)
    stop = _right_aligned(request.stop, request.stop_length)

    def body(t, ids, state, drawn, log_p, ends):
        state = stepper.read(ids, state)
        logits = stepper.logits(state)
        ids = draw(logits, t)
        log_p_of_ids = log_p_of(logits, ids)
        with tf.control_dependencies([log_p_of_ids]):  # or another thread is woken, which takes longer
            ids = tf.identity(ids)
            if sampled:
                state = tuple(map(tf.identity, state))
        if with_stop:
            end, recent = ends
            recent = tf.concat([recent, ids[:, tf.newaxis]], axis=1)[:, 1:]
            stops = (request.stop_length > 0) & tf.reduce_all((recent == stop) | (stop == _NOTHING), axis=1)
            ends = tf.where(stops, tf.minimum(end, t + 1), end), recent
        return t + 1, ids, state, drawn.write(t, ids), log_p.write(t, log_p_of_ids), ends

    def goes_on(t, ids, state, drawn, log_p, ends):
        return t < (_largest_or_1(ends[0]) if with_stop else longest)

    arrays = (tf.TensorArray(dtype, longest, element_shape=[None]) for dtype in (tf.int32, tf.float32))
    ends = (request.length, tf.fill(tf.shape(stop), _NOTHING)) if with_stop else ()
    count, _, _, *arrays, ends = tf.while_loop(goes_on, body, (0, last, state, *arrays, ends))
    steps = tf.range(count)
    drawn, log_p = (array.gather(steps) for array in arrays)
    length = ends[0] if with_stop else request.length
    log_likelihood = tf.reduce_sum(tf.where(steps[:, tf.newaxis] < length, log_p, 0.0), 0)
    return Generated(transposed(drawn), length, log_likelihood)


def _read_prefix(stepper: Stepper, state: State, request: Request) -> tuple[tf.Tensor, State]:
    """Reads all ids of each prefix except the last, without the output layer.

    Returns the last ids, `[N] int32`, and the state before them.
    """
    count = request.prefix_length - 1

    def body(t, state):
        after = stepper.read(request.prefix[:, t], state)
        goes_on = (t < count)[:, tf.newaxis]
        return t + 1, tuple(tf.where(goes_on, new, old) for new, old in zip(after, state, strict=True))

    longest = tf.reduce_max(count)
    _, state = tf.while_loop(lambda t, state: t < longest, body, (0, state))
    return tf.gather(request.prefix, count, batch_dims=1), state


def _largest_or_1(counts: tf.Tensor) -> tf.Tensor:
    """Returns the largest of `[N] int32`, but at least 1, so that a loop runs once and its arrays have an element."""
    return tf.maximum(tf.reduce_max(counts), 1)


def _right_aligned(ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Moves the first `lengths[n]` ids of each row of `[N, M]` to its end; `_NOTHING` is before them."""
    size = tf.shape(ids)[1]
    columns = tf.range(size) - (size - lengths)[:, tf.newaxis]
    return tf.where(columns >= 0, tf.gather(ids, tf.maximum(columns, 0), batch_dims=1), _NOTHING)


def uniform_numbers(seed: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns `[N, count, 2]` numbers in [0, 1); `seed[n]` (int64) determines row n, and a larger count extends it."""
    one_more = tf.concat([seed, [0]], 0)  # because map_fn does not return an empty result
    return tf.map_fn(
        lambda one: tf.random.stateless_uniform([count, 2], seed=tf.stack([one, 0]), alg='philox'),
        one_more,
        fn_output_signature=tf.TensorSpec([None, 2], tf.float32),
    )[:-1]
