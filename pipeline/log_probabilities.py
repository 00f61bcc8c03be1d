"""Log probabilities of ids under logits."""

from collections.abc import Callable

import tensorflow as tf

from pipeline.samplers import greedy

LogProbability = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""`(logits [N, V] float32, ids [N] int32)` -> ln p of the ids, `[N] float32`, nats."""


def log_probability(logits: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns ln p of `ids` `[N]` under `logits` `[N, V]`, nats.

    It follows from that of the most likely id, because the probability of an unlikely id could be 0. Where the choice
    needs the most likely id, too, TensorFlow looks for it once.
    """
    most_likely = greedy(logits)
    logit, largest_logit = (tf.gather(logits, index, batch_dims=1) for index in (ids, most_likely))
    return logit - largest_logit + log_largest_probability(logits, most_likely)


def log_largest_probability(logits: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns `log_probability` of the most likely ids, `ids`, in fewer operations.

    The largest probability is at least 1/V, so it has a logarithm. oneDNN has a fast softmax.
    """
    return tf.math.log(tf.gather(tf.nn.softmax(logits), ids, batch_dims=1))
