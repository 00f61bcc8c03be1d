"""Chooses the next character of each row from its logits and two uniform numbers. Rows are independent.

`top_k` keeps the k most likely characters (Fan et al. 2018). `top_p` keeps the smallest set of the most likely ones
that reaches the fraction p of their sum, the nucleus (Holtzman et al. 2020). At least one remains; of ties, the first.

How a character is drawn depends only on the knobs of its row:

  neither   The draw is from all characters, by the first number.
  top_p     The first draw is from all characters, by the first number. If it is outside the nucleus, a second draw is
            from the nucleus, by the second number. The result has exactly the probabilities of the nucleus: an accepted
            first draw has them, and a second draw has them, because its number is independent. At most a fraction
            1 - p of the draws needs a sort, which is the slowest operation.
  top_k     The draw is from those kept, sorted, by the second number.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_FEW = 40  # sorted first: for 128 rows of 1,260 characters this takes a fifth of the time of sorting all

Draw = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""`(logits [N, V] float32, position int32)` -> ids `[N] int32`."""


def sampler(uniform: tf.Tensor, temperature: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> Draw:
    """Returns a function that chooses a character for each row. Called before a loop, it prepares the knobs once.

    Args:
      uniform: `[N, T, 2] float32` in [0, 1), the only source of randomness; T is the number of positions.
      temperature: `[N] float32`; 0 takes the most likely character (the first of ties), as the section does.
      top_k: `[N] int32`, choose among the k most likely characters; 0: off.
      top_p: `[N] float32`, choose among the most likely characters that together reach probability p; 1: off.
    """
    sampled, ordered = temperature > 0, top_k > 0
    # Temperature 0: only the most likely characters have a weight, and the number 0 takes the first of them.
    divisor = tf.maximum(temperature, np.finfo(np.float32).tiny)[:, tf.newaxis]
    uniform = tf.where(sampled[:, tf.newaxis, tf.newaxis], uniform, 0.0)
    firsts, seconds = tf.split(tf.transpose(uniform, [1, 0, 2]), 2, axis=-1)
    fraction = tf.where(top_p < 1, top_p, float('inf'))
    knobs = top_k[:, tf.newaxis], fraction[:, tf.newaxis]
    # A first draw is accepted if the characters that precede it have less than this fraction of the sum. 0: never.
    accepted = tf.where(sampled & ordered, 0.0, fraction)[:, tf.newaxis]
    any_filtered = tf.reduce_any(sampled & (ordered | (top_p < 1)))
    branch = tf.where(tf.reduce_all(ordered | ~sampled), 2, tf.cast(any_filtered, tf.int32))
    redrawn = tf.function(_redrawn, autograph=False, experimental_attributes={'_noinline': True})

    def draw(logits: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        # Subtract the maximum first: the division would overflow at a small temperature.
        weights = tf.exp((logits - tf.reduce_max(logits, -1, keepdims=True)) / divisor)

        def from_all() -> tuple[tf.Tensor, tf.Tensor]:
            return _draw_from_all(weights, tf.gather(firsts, position))

        def sorted_columns() -> tuple[tf.Tensor, ...]:
            return logits, weights, tf.gather(seconds, position), *knobs

        def filtered() -> tf.Tensor:
            first, total = from_all()
            # A product: for one row of 1,260 characters a selection makes a step 15 % longer; for many it is level.
            precedes = tf.reduce_sum(weights * _precedes(logits, first), -1, keepdims=True)
            rejected = precedes >= accepted * total
            columns = sorted_columns()
            return tf.cond(tf.reduce_any(rejected), lambda: redrawn(first, rejected, columns), lambda: first)

        # A branch does only what the rows of the batch need. All that can serve a row return the same id for it.
        branches = [lambda: from_all()[0], filtered, lambda: _draw_sorted(*sorted_columns())]
        return tf.reshape(tf.switch_case(branch, branches), [-1])

    return draw


def greedy(logits: tf.Tensor) -> tf.Tensor:
    """Returns the most likely character of each row, the first of ties: `[N, V]` -> `[N] int32`."""
    return tf.argmax(logits, -1, output_type=tf.int32)


def _draw_from_all(weights: tf.Tensor, uniform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an id for each row of `weights` `[N, V]` by `uniform`, and the sum of the row, all `[N, 1]`."""
    running = tf.cumsum(weights, -1)
    total = running[:, -1:]
    return _first_above(running, uniform * total), total


def _redrawn(ids: tf.Tensor, rejected: tf.Tensor, columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """Draws again for the rejected rows; returns all ids, `[N, 1]`.

    `columns` has the arguments of `_draw_sorted` for all rows.
    """
    rows = tf.where(tf.reshape(rejected, [-1]))
    again = _draw_sorted(*(tf.gather(column, rows[:, 0]) for column in columns))
    return tf.tensor_scatter_nd_update(ids, rows, again)


def _draw_sorted(
    logits: tf.Tensor, weights: tf.Tensor, uniform: tf.Tensor, top_k: tf.Tensor, fraction: tf.Tensor
) -> tf.Tensor:
    """Returns ids `[N, 1]` of the k most likely characters, or of the most likely that reach a fraction of their sum.

    `weights`, `[N, V]`, are proportional to the probabilities. `logits` `[N, V]` rank the characters: at a high
    temperature different logits may have equal weights. The others are `[N, 1]`; an infinite fraction keeps all.
    """
    size = logits.shape[-1]
    k = tf.where(top_k > 0, tf.minimum(top_k, size), size)

    def among(count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ids, and whether they are right: whether the `count` most likely characters suffice."""
        _, order = tf.math.top_k(logits, count)
        running = tf.cumsum(tf.gather(weights, order, batch_dims=1), -1)
        of_k = tf.gather(running, tf.minimum(k, count) - 1, batch_dims=1)
        of_k = tf.where(k > count, tf.reduce_sum(weights, -1, keepdims=True), of_k)
        wanted = tf.minimum(fraction * of_k, of_k)
        last = tf.minimum(tf.raw_ops.LowerBound(sorted_inputs=running, values=wanted), count - 1)
        rank = _first_above(running, uniform * tf.gather(running, last, batch_dims=1))
        suffices = tf.where(k < size, k <= count, running[:, -1:] >= wanted)
        return tf.gather(order, rank, batch_dims=1), suffices

    if size <= _FEW:
        return among(size)[0]
    few, suffice = among(_FEW)
    # A row has the result of the first way that suffices for it, and does not depend on the other rows.
    return tf.cond(tf.reduce_all(suffice), lambda: few, lambda: tf.where(suffice, few, among(size)[0]))


def _precedes(logits: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns 1.0 for each character that is more likely than `ids` `[N, 1]`, or an earlier one of ties; `[N, V]`."""
    logit = tf.gather(logits, ids, batch_dims=1)
    return tf.cast((logits > logit) | ((logits == logit) & (tf.range(logits.shape[-1]) < ids)), tf.float32)


def _first_above(running: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Returns the first id at which `running` `[N, V]`, a running sum, exceeds `target` `[N, 1]`, as `[N, 1] int32`.

    An id of weight 0 is never the first, because the sum does not change there. Where the sum is not a number, it is
    the last id, so that such a row does not fail the others.
    """
    return tf.minimum(tf.raw_ops.UpperBound(sorted_inputs=running, values=target), running.shape[-1] - 1)
