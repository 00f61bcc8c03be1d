"""The minibatches are the section's, and a pure function of the global step."""

import re

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from data.ids import Ids
from data.windows import Windows, stacked

Minibatches = list[tuple[np.ndarray, np.ndarray]]


def _ids(num_characters: int) -> np.ndarray:
    """A corpus whose character at place p is 10 p + 7: each window tells its place, and no id is a place or 0."""
    return np.arange(num_characters, dtype=np.int32) * 10 + 7


def _places(ids: np.ndarray) -> np.ndarray:
    return (ids - 7) // 10


def _stream(windows: Windows, first_step: int, last_step: int) -> Minibatches:
    ids = Ids.of(_ids(windows.num_characters))
    steps = tf.range(first_step, last_step, dtype=tf.int64)
    return [tuple(part.numpy() for part in windows.minibatches(ids, step)) for step in steps]


def _unstacked(stacks: tf.data.Dataset) -> Minibatches:
    return [(inputs[i], targets[i]) for inputs, targets, count in stacks.as_numpy_iterator() for i in range(count)]


def _epochs(windows: Windows, num_epochs: int) -> list[Minibatches]:
    steps = windows.steps_per_epoch
    stream = _stream(windows, 0, num_epochs * steps)
    return [stream[e * steps : (e + 1) * steps] for e in range(num_epochs)]


def _starts(epoch: Minibatches) -> list[int]:
    return [start for inputs, _ in epoch for start in _places(inputs[:, 0]).tolist()]


def _assert_same(found: Minibatches, expected: Minibatches) -> None:
    assert len(found) == len(expected)
    for pair, expected_pair in zip(found, expected, strict=True):
        np.testing.assert_array_equal(pair, expected_pair)


def _section_random(corpus_indices: list[int], batch_size: int, num_steps: int, example_indices: list[int]):
    """The section's `data_iter_random`, with the shuffled `example_indices` given."""
    num_examples = (len(corpus_indices) - 1) // num_steps
    assert set(example_indices) <= set(range(num_examples))
    for i in range(0, num_examples // batch_size * batch_size, batch_size):
        taken = [j * num_steps for j in example_indices[i : i + batch_size]]
        yield (
            [corpus_indices[pos : pos + num_steps] for pos in taken],
            [corpus_indices[pos + 1 : pos + 1 + num_steps] for pos in taken],
        )


def _section_consecutive(corpus_indices: list[int], batch_size: int, num_steps: int):
    """The section's `data_iter_consecutive`."""
    batch_len = len(corpus_indices) // batch_size
    indices = np.reshape(corpus_indices[: batch_size * batch_len], (batch_size, batch_len))
    for i in range((batch_len - 1) // num_steps):
        start = i * num_steps
        yield indices[:, start : start + num_steps], indices[:, start + 1 : start + num_steps + 1]


# (N, B, T): nothing over, a window over, characters over, one window, windows of one character, one row.
SHAPES = [(41, 2, 5), (36, 2, 5), (103, 4, 7), (9, 2, 3), (23, 3, 1), (40, 1, 6)]


def test_consecutive_minibatches_by_hand():
    """19 characters in 2 rows of 9; 2 minibatches an epoch, and the next epoch starts over."""
    first = ([[0, 1, 2], [9, 10, 11]], [[1, 2, 3], [10, 11, 12]])
    second = ([[3, 4, 5], [12, 13, 14]], [[4, 5, 6], [13, 14, 15]])
    windows = Windows(19, 2, 3, 'consecutive')
    assert windows.steps_per_epoch == 2
    _assert_same([(_places(x), _places(y)) for x, y in _stream(windows, 0, 4)], [first, second, first, second])


def test_random_windows_by_hand():
    """15 characters hold 4 windows of 3: a fifth would have no target for its last character."""
    windows = Windows(15, 2, 3, 'random')
    assert windows.steps_per_epoch == 2
    for epoch in _epochs(windows, 6):
        inputs, targets = (sorted(_places(np.concatenate(rows)).tolist()) for rows in zip(*epoch, strict=True))
        assert inputs == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
        assert targets == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


@pytest.mark.parametrize(('num_characters', 'batch_size', 'num_steps'), SHAPES)
def test_consecutive_epochs_equal_the_section(num_characters, batch_size, num_steps):
    expected = list(_section_consecutive(_ids(num_characters).tolist(), batch_size, num_steps))
    for epoch in _epochs(Windows(num_characters, batch_size, num_steps, 'consecutive'), 2):
        _assert_same(epoch, expected)


@pytest.mark.parametrize(('num_characters', 'batch_size', 'num_steps'), SHAPES)
def test_random_epochs_have_the_windows_of_the_section(num_characters, batch_size, num_steps):
    for epoch in _epochs(Windows(num_characters, batch_size, num_steps, 'random'), 3):
        order = [start // num_steps for start in _starts(epoch)]
        expected = list(_section_random(_ids(num_characters).tolist(), batch_size, num_steps, order))
        _assert_same(epoch, expected)
        assert len(set(order)) == len(order), 'a window was taken twice'


def test_every_window_is_used_in_some_epoch():
    """5 windows, 2 at a time: one is dropped each epoch, but not the same one."""
    starts = [_starts(epoch) for epoch in _epochs(Windows(16, 2, 3), 20)]
    assert {len(s) for s in starts} == {4}
    assert set.union(*map(set, starts)) == {0, 3, 6, 9, 12}


def test_each_epoch_has_its_own_order():
    orders = [_starts(epoch) for epoch in _epochs(Windows(201, 8, 5), 10)]
    assert len(set(map(tuple, orders))) == 10


def test_order_is_not_that_of_the_text():
    order = _starts(_epochs(Windows(201, 8, 5), 1)[0])
    assert order != sorted(order)


@pytest.mark.parametrize('count', [65_536, 65_537, 65_538, 262_145])
def test_each_window_of_many_is_trained_once_an_epoch(count):
    windows = Windows(count + 1, count, 1)
    for epoch in range(3):
        offsets = windows.offsets(tf.constant(epoch, tf.int64)).numpy()
        np.testing.assert_array_equal(np.sort(offsets), np.arange(count))


@pytest.mark.parametrize(('seed', 'epoch'), [(0, 256), (256, 0)])
def test_orders_do_not_repeat_after_256_epochs_or_seeds(seed, epoch):
    first, later = Windows(201, 40, 5, seed=0), Windows(201, 40, 5, seed=seed)
    assert (
        later.offsets(tf.constant(epoch, tf.int64)).numpy().tolist()
        != first.offsets(tf.constant(0, tf.int64)).numpy().tolist()
    )


def test_same_seed_gives_the_same_stream():
    _assert_same(_stream(Windows(201, 4, 5, seed=3), 0, 30), _stream(Windows(201, 4, 5, seed=3), 0, 30))


def test_different_seeds_give_different_streams():
    assert len({tuple(_starts(_stream(Windows(201, 4, 5, seed=seed), 0, 10))) for seed in range(10)}) == 10


def test_next_seed_is_not_the_next_epoch():
    """Seed 1 in epoch 0 must not be seed 0 in epoch 1, or runs that average over seeds would see one stream shifted."""
    by_epoch, by_seed = _epochs(Windows(201, 8, 5, seed=0), 2)[1], _epochs(Windows(201, 8, 5, seed=1), 1)[0]
    assert _starts(by_epoch) != _starts(by_seed)


@pytest.mark.parametrize('sampling', ['random', 'consecutive'])
@pytest.mark.parametrize('num_shards', [1, 2, 3, 6])
def test_shards_are_rows_of_the_whole_minibatch(sampling, num_shards):
    windows, ids = Windows(200, 6, 5, sampling), Ids.of(_ids(200))
    shards = [
        _unstacked(stacked(windows, ids, 3, 9, stack_size=4, shard=shard, num_shards=num_shards))
        for shard in range(num_shards)
    ]
    joined = [
        tuple(np.concatenate(parts) for parts in zip(*minibatch, strict=True))
        for minibatch in zip(*shards, strict=True)
    ]
    _assert_same(joined, _stream(windows, 3, 9))
    assert {x.shape for shard in shards for pair in shard for x in pair} == {(6 // num_shards, 5)}


def test_shards_of_different_sizes_are_refused():
    with pytest.raises(InputError, match=re.escape('batch_size=6 must be a multiple of num_shards=4')):
        stacked(Windows(200, 6, 5), Ids.of(_ids(200)), 0, 1, stack_size=1, num_shards=4)


@pytest.mark.parametrize('sampling', ['random', 'consecutive'])
@pytest.mark.parametrize(
    ('first_step', 'last_step', 'stack_size', 'counts'),
    [
        (0, 12, 4, [4, 2, 4, 2]),  # 6 minibatches an epoch
        (0, 12, 6, [6, 6]),
        (0, 7, 50, [6, 1]),
        (2, 11, 3, [3, 1, 3, 2]),
        (6, 10, 4, [4]),
        (3, 4, 2, [1]),
        (5, 5, 2, []),
    ],
)
def test_stacks_hold_the_same_minibatches_and_end_with_the_epoch(sampling, first_step, last_step, stack_size, counts):
    windows, ids = Windows(100, 3, 5, sampling), Ids.of(_ids(100))
    stacks = list(stacked(windows, ids, first_step, last_step, stack_size=stack_size).as_numpy_iterator())
    assert [count for *_, count in stacks] == counts
    unstacked = [(inputs[i], targets[i]) for inputs, targets, count in stacks for i in range(count)]
    _assert_same(unstacked, _stream(windows, first_step, last_step))
    for inputs, targets, count in stacks:
        assert not inputs[count:].any()
        assert not targets[count:].any()


@pytest.mark.parametrize('sampling', ['random', 'consecutive'])
@pytest.mark.parametrize(('periods', 'ends'), [([4], [4, 6, 8, 12, 16, 18]), ([5, 9], [5, 6, 9, 10, 12, 15, 18])])
def test_stacks_end_at_the_multiples_of_each_period(sampling, periods, ends):
    """Epochs of 6 minibatches; none of a stack of 6 is left out or read twice."""
    windows, ids = Windows(100, 3, 5, sampling), Ids.of(_ids(100))
    assert windows.steps_per_epoch == 6
    for first_step in (0, 3, 9):
        stacks = list(stacked(windows, ids, first_step, 18, stack_size=6, periods=periods).as_numpy_iterator())
        counts = [int(count) for *_, count in stacks]
        assert list(first_step + np.cumsum(counts)) == [end for end in ends if end > first_step]
        unstacked = [(inputs[i], targets[i]) for inputs, targets, count in stacks for i in range(count)]
        _assert_same(unstacked, _stream(windows, first_step, 18))


def test_end_of_an_iterator_does_not_wait_for_the_tuner():
    """It waited about as long as the iterator had lived, so this test does not measure time."""
    assert not stacked(Windows(100, 4, 8), Ids.of(np.arange(100)), 0, 3, stack_size=2).options().autotune.enabled


def test_functions_of_the_pipeline_are_not_converted(monkeypatch):
    """AutoGraph takes 0.2 s of the start of a run."""
    minibatches, found = Windows.minibatches, []

    def observed(*args):
        found.append(tf.__internal__.autograph.control_status_ctx().status.name)
        return minibatches(*args)

    monkeypatch.setattr(Windows, 'minibatches', observed)
    stacked(Windows(500, 4, 5), Ids.of(_ids(500)), 0, 9, stack_size=4)
    assert set(found) == {'DISABLED'}


def test_stacks_have_one_static_shape():
    """Or the training loop would be compiled anew for the last stack of an epoch."""
    inputs, targets, count = stacked(Windows(100, 3, 5), Ids.of(_ids(100)), 0, 12, stack_size=4).element_spec
    assert inputs == targets == tf.TensorSpec([4, 3, 5], tf.int32)
    assert count == tf.TensorSpec([], tf.int32)


def test_minibatches_are_int32():
    assert {x.dtype.name for pair in _stream(Windows(100, 3, 5), 0, 1) for x in pair} == {'int32'}


# The least corpus for B = 3 and T = 5: random, 3 windows and one target more; consecutive, 3 rows of 5 + 1.
NEEDED = [('random', 16), ('consecutive', 18)]


@pytest.mark.parametrize(('sampling', 'needed'), NEEDED)
def test_shortest_corpus_gives_one_minibatch_per_epoch(sampling, needed):
    windows = Windows(needed, 3, 5, sampling)
    assert windows.steps_per_epoch == 1
    for epoch in _epochs(windows, 2):
        assert sorted(_starts(epoch)) == {'random': [0, 5, 10], 'consecutive': [0, 6, 12]}[sampling]


@pytest.mark.parametrize(('sampling', 'needed'), NEEDED)
def test_corpus_one_character_shorter_is_refused(sampling, needed):
    with pytest.raises(InputError) as caught:
        Windows(needed - 1, 3, 5, sampling)
    message = str(caught.value)
    for part in (
        f'has {needed - 1} characters',
        f'needs {needed}.',
        f'--sampling={sampling}',
        '--batch_size=3',
        '--num_steps=5',
        '--corpus',
        '--max_characters',
    ):
        assert part in message
