"""Maps a global step to its minibatch of windows `[B, T]`, in a tf.data pipeline.

Every function here is a pure function of the global step. There is no shuffle buffer: a resumed run starts the range at
its step, and every machine computes the same stream.
"""

import dataclasses
import functools
from collections.abc import Collection

import tensorflow as tf

from data.errors import InputError
from data.ids import Ids

_NOT_PERMUTED = {4**k + 1 for k in range(8, 31)}


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of N characters: each minibatch has B windows of T inputs and T targets, shifted by one.

    `random`: the `(N-1)//T` windows that start at multiples of T, in a new order each epoch, B per minibatch; the rest
    is dropped. `consecutive`: B rows of `N//B` characters; each minibatch takes the next T characters of every row.
    (Dive into Deep Learning, Chinese edition v1, section 6.3.)
    """

    num_characters: int
    batch_size: int
    num_steps: int
    sampling: str = 'random'
    seed: int = 0
    context: int = 0
    """Number of preceding windows that are prepended to the inputs (consecutive sampling only)."""

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
        """Minibatches per epoch."""
        if self.sampling == 'random':
            return self._num_windows // self.batch_size
        return (self._row_length - 1) // self.num_steps

    @property
    def _num_windows(self) -> int:
        return (self.num_characters - 1) // self.num_steps

    @property
    def _row_length(self) -> int:
        return self.num_characters // self.batch_size

    def offsets(self, steps: tf.Tensor) -> tf.Tensor:
        """Returns the start positions of the windows of global steps of one epoch, `[...] int64`: `[..., B] int64`."""
        epoch, index = tf.reduce_max(steps) // self.steps_per_epoch, tf.expand_dims(steps % self.steps_per_epoch, -1)
        rows = tf.range(self.batch_size, dtype=tf.int64)
        if self.sampling == 'consecutive':
            return rows * self._row_length + index * self.num_steps
        return self._shuffled(index * self.batch_size + rows, epoch) * self.num_steps

    def _shuffled(self, indices: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        """Returns the windows at `indices` of the permutation of `epoch`, without computing the whole permutation.

        `index_shuffle` uses only the low bits of its seed (8 bits of each number, up to 65,536 windows): epoch 256
        would repeat epoch 0. So the seeds are mixed, and two permutations are composed.

        It is not a permutation of 65,537 numbers, and of 4^k + 1 for greater k: then one number more is permuted, and
        where the result is that number, its own result takes its place.
        """
        size = self._num_windows
        needs_another = size in _NOT_PERMUTED
        seeds = tf.random.stateless_uniform(
            [2, 2], tf.stack([self.seed, epoch]), minval=None, maxval=None, dtype=tf.int64, alg='philox'
        )
        shape, indices = tf.shape(indices), tf.reshape(indices, [-1])
        for seed in tf.unstack(seeds):
            shuffled = tf.random.experimental.index_shuffle(indices, seed, max_index=size - 1 + needs_another)
            if needs_another:
                own = tf.random.experimental.index_shuffle(tf.constant([size], tf.int64), seed, max_index=size)
                shuffled = tf.where(shuffled == size, own, shuffled)
            indices = shuffled
        return tf.reshape(indices, shape)

    def minibatches(self, ids: Ids, steps: tf.Tensor, rows: slice = slice(None)) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns inputs and targets of global steps of one epoch, both `[..., B, T] int32`; steps are `[...] int64`.

        With C windows of context the inputs are `[..., B, (C+1)·T]`, and the targets belong to the last T inputs. Near
        the start of a row the missing context is filled with arbitrary characters; callers ignore it.

        Args:
          ids: a corpus of N characters.
          steps: at least one.
          rows: those to read of each minibatch; B is their number.
        """
        length = (self.context + 1) * self.num_steps + 1
        starts = self.offsets(steps)[..., rows] - self.context * self.num_steps
        characters = tf.numpy_function(ids.windows, [starts, length], tf.int32, stateful=False)
        characters = tf.ensure_shape(characters, [*starts.shape, length])
        return characters[..., :-1], characters[..., -self.num_steps :]


@tf.autograph.experimental.do_not_convert  # AutoGraph would take 0.2 s to find no conditions and loops of Python
def stacked(
    windows: Windows,
    ids: Ids,
    first_step: int,
    last_step: int,
    *,
    stack_size: int,
    periods: Collection[int] = (),
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """Returns the minibatches of the global steps `first_step` to `last_step - 1`, one stack per compiled call.

    A stack has up to S = `stack_size` minibatches. It ends at the end of an epoch, and at each step that is a multiple
    of one of `periods`. Each operation builds a whole stack, because many small operations would take time from the
    training on a CPU.

    Worker `shard` of `num_shards` gets its rows of each minibatch; B is their number.

    Yields `(inputs [S, B, (C+1)·T] int32, targets [S, B, T] int32, count [] int32)`. Zeros pad the stack after the
    first `count` minibatches, so that its shape is constant and the call is compiled once.

    Raises:
      InputError: the rows of a minibatch are not a multiple of `num_shards`.
    """
    num_rows, rest = divmod(windows.batch_size, num_shards)
    if rest:
        raise InputError(f'batch_size={windows.batch_size} must be a multiple of num_shards={num_shards}.')
    own_rows = slice(shard * num_rows, (shard + 1) * num_rows)

    def next_steps(first: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        ends = [(first // period + 1) * period for period in {windows.steps_per_epoch, *periods}]
        end = functools.reduce(tf.minimum, [*ends, first + stack_size], tf.constant(last_step, tf.int64))
        return end, (first, end)

    def stack(first: tf.Tensor, end: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        count = tf.cast(end - first, tf.int32)
        padding = [[0, stack_size - count], [0, 0], [0, 0]]
        inputs, targets = windows.minibatches(ids, tf.range(first, end), own_rows)
        return (
            tf.ensure_shape(tf.pad(inputs, padding), [stack_size, *inputs.shape[1:]]),
            tf.ensure_shape(tf.pad(targets, padding), [stack_size, *targets.shape[1:]]),
            count,
        )

    options = tf.data.Options()
    # There is nothing to tune, and the tuner's thread sleeps for longer and longer: the end of the iterator, as on a
    # stop request, would wait for it, for up to a minute.
    options.autotune.enabled = False
    steps = tf.data.Dataset.counter().scan(tf.constant(first_step, tf.int64), next_steps)
    stacks = steps.take_while(lambda first, _: first < last_step).map(stack)
    return stacks.prefetch(2).with_options(options)
