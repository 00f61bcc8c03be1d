"""Logits and one uniform number a row -> the next character. Each row has its own knobs and depends on nothing else."""

import tensorflow as tf


def sample(
    logits: tf.Tensor, uniform: tf.Tensor, temperature: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor
) -> tf.Tensor:
    """Chooses a character for each row.

    Args:
      logits: `[N, V] float32`.
      uniform: `[N] float32` in [0, 1), the only source of chance.
      temperature: `[N] float32`; 0 takes the most likely character (of equals the first), as the section does.
      top_k: `[N] int32`, only among the k most likely characters; 0: off.
      top_p: `[N] float32`, only among the most likely characters that together reach the probability p; 1: off.

    Returns:
      ids, `[N] int32`.
    """

    def draw() -> tf.Tensor:
        # Division before the maximum is taken off would overflow at a small temperature.
        scaled = (logits - tf.reduce_max(logits, -1, keepdims=True)) / tf.maximum(temperature, 1e-30)[:, tf.newaxis]
        filtering = tf.reduce_any(top_k > 0) | tf.reduce_any(top_p < 1)
        kept = tf.cond(filtering, lambda: nucleus(scaled, top_k, top_p), lambda: tf.ones_like(scaled, tf.bool))
        chosen = inverse_cdf(tf.where(kept, tf.exp(scaled), 0.0), uniform)
        return tf.where(temperature > 0, chosen, greedy(logits))

    return tf.cond(tf.reduce_any(temperature > 0), draw, lambda: greedy(logits))


def greedy(logits: tf.Tensor) -> tf.Tensor:
    """The most likely character of each row, of equals the first: `[N, V]` -> `[N] int32`."""
    return tf.argmax(logits, -1, output_type=tf.int32)


def nucleus(logits: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Which characters stay, `[N, V] bool`: the k most likely (Fan et al. 2018), and of those the smallest set of the
    most likely that reaches probability p (Holtzman et al. 2020). At least one stays; of equals the first.
    """
    size = logits.shape[-1]
    ordered, order = tf.math.top_k(logits, size)
    rank = tf.range(size)
    within_k = rank < tf.where(top_k > 0, top_k, size)[:, tf.newaxis]
    probabilities = tf.nn.softmax(tf.where(within_k, ordered, float('-inf')))
    reached_before = tf.cumsum(probabilities, -1, exclusive=True)
    within_p = (reached_before < top_p[:, tf.newaxis]) | (top_p >= 1)[:, tf.newaxis] | (rank == 0)
    last = tf.reduce_sum(tf.cast(within_k & within_p, tf.int32), -1, keepdims=True) - 1
    threshold = tf.gather(ordered, last, batch_dims=1)
    last_id = tf.gather(order, last, batch_dims=1)
    return (logits > threshold) | ((logits == threshold) & (rank <= last_id))


def inverse_cdf(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """The first id at which the running sum of `weights` `[N, V]` passes the fraction `uniform` `[N]` of their total.

    An id of weight 0 is never chosen: the running sum does not pass anything there.
    """
    running = tf.cumsum(weights, -1)
    target = uniform[:, tf.newaxis] * running[:, -1:]
    return tf.argmax(tf.cast(running > target, tf.int8), -1, output_type=tf.int32)
