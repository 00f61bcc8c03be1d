"""Chooses the next character of each row from its logits and one uniform number. Rows are independent."""

import tensorflow as tf

_FEW = 40  # put in order: for 32 rows of 1,260 characters this takes a seventh of the time of a full sort


def sample(
    logits: tf.Tensor, uniform: tf.Tensor, temperature: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor
) -> tf.Tensor:
    """Chooses a character for each row.

    Args:
      logits: `[N, V] float32`.
      uniform: `[N] float32` in [0, 1), the only source of randomness.
      temperature: `[N] float32`; 0 takes the most likely character (the first of ties), as the section does.
      top_k: `[N] int32`, choose among the k most likely characters; 0: off.
      top_p: `[N] float32`, choose among the most likely characters that together reach probability p; 1: off.

    Returns:
      ids, `[N] int32`.
    """

    def draw() -> tf.Tensor:
        # Subtract the maximum first: the division would overflow at a small temperature.
        scaled = (logits - tf.reduce_max(logits, -1, keepdims=True)) / tf.maximum(temperature, 1e-30)[:, tf.newaxis]
        weights = tf.exp(scaled)
        filtering = tf.reduce_any(top_k > 0) | tf.reduce_any(top_p < 1)
        kept = tf.cond(
            filtering, lambda: nucleus(logits, weights, top_k, top_p), lambda: tf.ones_like(weights, tf.bool)
        )
        chosen = inverse_cdf(tf.where(kept, weights, 0.0), uniform)
        return tf.where(temperature > 0, chosen, greedy(logits))

    return tf.cond(tf.reduce_any(temperature > 0), draw, lambda: greedy(logits))


def greedy(logits: tf.Tensor) -> tf.Tensor:
    """Returns the most likely character of each row, the first of ties: `[N, V]` -> `[N] int32`."""
    return tf.argmax(logits, -1, output_type=tf.int32)


def nucleus(logits: tf.Tensor, weights: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Returns the characters to choose from, `[N, V] bool`.

    They are the k most likely characters (Fan et al. 2018), reduced to the smallest set of the most likely ones that
    reaches the fraction p of their sum (Holtzman et al. 2020). At least one remains; of ties, the first.

    `weights`, `[N, V] float32`, are proportional to the probabilities. `logits` `[N, V]` rank the characters: at a high
    temperature different logits may have equal weights.
    """
    size = weights.shape[-1]
    if size <= _FEW:
        return _by_order(logits, weights, top_k, top_p, size)[0]
    few, few_suffice = _by_order(logits, weights, top_k, top_p, _FEW)

    def bucketed() -> tf.Tensor:
        many, found = _by_buckets(logits, weights, top_k, top_p)
        kept, found = tf.where(few_suffice[:, tf.newaxis], few, many), few_suffice | found

        def ordered() -> tf.Tensor:
            return tf.where(found[:, tf.newaxis], kept, _by_order(logits, weights, top_k, top_p, size)[0])

        return tf.cond(tf.reduce_all(found), lambda: kept, ordered)

    # A row has the result of the first way that suffices for it, and does not depend on the other rows.
    return tf.cond(tf.reduce_all(few_suffice), lambda: few, bucketed)


def _by_order(
    logits: tf.Tensor, weights: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor, count: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the nucleus, and whether that of each row is within its `count` most likely characters, `[N] bool`."""
    size = weights.shape[-1]
    ranked, order = tf.math.top_k(logits, count)
    ordered = tf.gather(weights, order, batch_dims=1)
    before = tf.cumsum(ordered, -1, exclusive=True)
    reached = before + ordered
    rank, k = tf.range(count), tf.where(top_k > 0, tf.minimum(top_k, size), size)
    of_k = tf.gather(reached, tf.minimum(k, count) - 1, batch_dims=1)
    wanted = top_p * tf.where(k < size, of_k, tf.reduce_sum(weights, -1))
    enough = tf.where(k < size, k <= count, (top_p >= 1) | (reached[:, -1] >= wanted))
    within = (rank < k[:, tf.newaxis]) & ((before < wanted[:, tf.newaxis]) | (top_p >= 1)[:, tf.newaxis])
    kept = _down_to(logits, ranked, order, within)
    return kept | ((k == size) & (top_p >= 1))[:, tf.newaxis], enough


def _by_buckets(
    logits: tf.Tensor, weights: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the nucleus of the rows without top_k, and whether it was found, `[N] bool`.

    V buckets, of equal width, divide the characters by their logits. Only those of the bucket where the sum of the
    weights reaches p are put in order, if they are few. To put all in order takes about twice as long.
    """
    size = weights.shape[-1]
    below = tf.reduce_max(logits, -1, keepdims=True) - logits
    span = tf.reduce_max(tf.math.multiply_no_nan(below, tf.cast(below < float('inf'), tf.float32)), -1, keepdims=True)
    buckets = tf.cast(tf.minimum(below * ((size - 1) / tf.maximum(span, 1e-30)), size - 1), tf.int32)
    reached = tf.cumsum(tf.raw_ops.DenseBincount(input=buckets, size=size, weights=weights), -1)
    wanted = top_p[:, tf.newaxis] * tf.reduce_sum(weights, -1, keepdims=True)
    last = tf.reduce_sum(tf.cast(reached < wanted, tf.int32), -1, keepdims=True)
    before = tf.where(last > 0, tf.gather(reached, tf.maximum(last - 1, 0), batch_dims=1), 0.0)
    own = tf.cast(buckets == last, tf.float32)  # products: a selection takes several times as long
    ranked, order = tf.math.top_k(logits - (1 - own) * logits.dtype.max, _FEW)
    ordered = tf.gather(weights * own, order, batch_dims=1)
    within = before + tf.cumsum(ordered, -1, exclusive=True) < wanted
    return _down_to(logits, ranked, order, within), (top_k == 0) & ~within[:, -1]


def _down_to(logits: tf.Tensor, ranked: tf.Tensor, order: tf.Tensor, within: tf.Tensor) -> tf.Tensor:
    """Returns the characters that are at least as likely as the last one `within`, `[N, V] bool`; of ties, the first.

    `ranked`: logits in descending order, `order`: their ids, `within`: whether they are in the nucleus, `[N, count]`.
    """
    last = tf.maximum(tf.reduce_sum(tf.cast(within, tf.int32), -1, keepdims=True) - 1, 0)
    threshold, last_id = tf.gather(ranked, last, batch_dims=1), tf.gather(order, last, batch_dims=1)
    return (logits > threshold) | ((logits == threshold) & (tf.range(logits.shape[-1]) <= last_id))


def inverse_cdf(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Returns the first id at which the running sum of `weights` `[N, V]` exceeds `uniform` `[N]` times their total.

    An id of weight 0 is never chosen, because the running sum does not change there.
    """
    running = tf.cumsum(weights, -1)
    target = uniform[:, tf.newaxis] * running[:, -1:]
    return tf.argmax(tf.cast(running > target, tf.int8), -1, output_type=tf.int32)
