"""Global step -> minibatch `[B, T]`: the windows of the corpus that each takes, and the tf.data pipeline of them.

Everything here is a pure function of the global step. There is no shuffle buffer: resuming a run is starting the range
elsewhere, and every machine computes the same stream.
"""

import dataclasses

import tensorflow as tf

from data.errors import InputError


@dataclasses.dataclass(frozen=True)
class Windows:
    """The B windows of T characters (and T targets, one further) that each minibatch takes from N characters.

    `random`: the `(N-1)//T` windows that start at multiples of T, in a new order each epoch, B at a time, the rest
    dropped. `consecutive`: B rows of `N//B` characters, each walked from its start, T at a time; minibatch i+1 goes on
    where minibatch i ended. (Dive into Deep Learning, Chinese edition v1, section 6.3.)
    """

    num_characters: int
    batch_size: int
    num_steps: int
    sampling: str = 'random'
    seed: int = 0
    context: int = 0
    """So many windows before its own come in front of the inputs; consecutive sampling only."""

    def __post_init__(self):
        needed = self.batch_size * (self.num_steps + (self.sampling == 'consecutive')) + (self.sampling == 'random')
        if self.num_characters < needed:
            raise InputError(
                f'the corpus is too short for one minibatch: its training part has {self.num_characters:,} characters, '
                f'but --sampling={self.sampling} with --batch_size={self.batch_size} and --num_steps={self.num_steps} '
                f'needs {needed:,}. Lower --batch_size or --num_steps, or give a longer --corpus, a larger '
                f'--max_characters or a smaller --valid_fraction.'
            )

    @property
    def steps_per_epoch(self) -> int:
        """Minibatches an epoch."""
        if self.sampling == 'random':
            return self._num_windows // self.batch_size
        return (self._row_length - 1) // self.num_steps

    @property
    def _num_windows(self) -> int:
        return (self.num_characters - 1) // self.num_steps

    @property
    def _row_length(self) -> int:
        return self.num_characters // self.batch_size

    def offsets(self, step: tf.Tensor) -> tf.Tensor:
        """Where the windows of global step `step` (scalar int64) start in the corpus, `[B] int64`."""
        epoch, index = step // self.steps_per_epoch, step % self.steps_per_epoch
        rows = tf.range(self.batch_size, dtype=tf.int64)
        if self.sampling == 'consecutive':
            return rows * self._row_length + index * self.num_steps
        return self._shuffled(index * self.batch_size + rows, epoch) * self.num_steps

    def _shuffled(self, places: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        """The windows that stand at `places` in the order of `epoch`, without making the whole order.

        `index_shuffle` heeds no more than the low bits of its seed (8 of each number, up to 65,536 windows), so that
        epoch 256 would repeat epoch 0: hence mixed seeds, and two permutations one after the other.
        """
        seeds = tf.random.stateless_uniform(
            [2, 2], tf.stack([self.seed, epoch]), minval=None, maxval=None, dtype=tf.int64, alg='philox'
        )
        for seed in tf.unstack(seeds):
            places = tf.random.experimental.index_shuffle(places, seed, max_index=self._num_windows - 1)
        return places

    def minibatch(self, ids: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Inputs and targets of global step `step`, both `[B, T] int32`, from the corpus `ids`, `[N] int32`.

        With C windows of context the inputs are `[B, (C+1)·T]`, and the targets belong to the last T of them. Where a
        row has not so many windows yet, what stands in their place is of no meaning.
        """
        first = -self.context * self.num_steps
        window = self.offsets(step)[:, tf.newaxis] + tf.range(first, self.num_steps + 1, dtype=tf.int64)
        characters = tf.gather(ids, tf.maximum(window, 0))
        return characters[:, :-1], characters[:, -self.num_steps :]


def minibatches(
    windows: Windows, ids: tf.Tensor, first_step: int, last_step: int, *, shard: int = 0, num_shards: int = 1
) -> tf.data.Dataset:
    """The minibatches of the global steps `first_step` to `last_step - 1`, each `([B, T], [B, T]) int32`.

    Worker `shard` of `num_shards` gets the B / num_shards rows of each minibatch that stand at its place.

    Raises:
      InputError: B is no multiple of `num_shards`.
    """
    rows, rest = divmod(windows.batch_size, num_shards)
    if rest:
        raise InputError(f'batch_size={windows.batch_size} must be a multiple of num_shards={num_shards}.')

    def shard_of_step(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, targets = windows.minibatch(ids, step)
        own = slice(shard * rows, (shard + 1) * rows)
        return inputs[own], targets[own]

    return tf.data.Dataset.range(first_step, last_step).map(shard_of_step)


def stacked(windows: Windows, ids: tf.Tensor, first_step: int, last_step: int, *, stack_size: int) -> tf.data.Dataset:
    """The same minibatches, up to S = `stack_size` of one epoch at a time, for one compiled call each.

    Yields `(inputs [S, B, (C+1)·T] int32, targets [S, B, T] int32, count [] int32)`. The shape is always the same,
    so that the call is compiled once: after the first `count` minibatches, zeros fill up the stack.
    """
    per_epoch = windows.steps_per_epoch

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        first = tf.maximum(number * per_epoch, first_step)
        last = tf.minimum((number + 1) * per_epoch, last_step)
        return minibatches(windows, ids, first, last).batch(stack_size)

    def fill_up(inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        count = tf.shape(inputs)[0]
        padding = [[0, stack_size - count], [0, 0], [0, 0]]
        shape = [stack_size, windows.batch_size]
        return (
            tf.ensure_shape(tf.pad(inputs, padding), [*shape, (windows.context + 1) * windows.num_steps]),
            tf.ensure_shape(tf.pad(targets, padding), [*shape, windows.num_steps]),
            count,
        )

    first_epoch, last_epoch = first_step // per_epoch, -(-last_step // per_epoch)
    return tf.data.Dataset.range(first_epoch, last_epoch).flat_map(epoch).map(fill_up).prefetch(2)
