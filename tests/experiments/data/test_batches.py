"""Batches are a function of (seed, step), shards tile them, epochs cover the data."""

import numpy as np
import pytest

from experiments import data

ARRAYS = {"x": np.arange(23, dtype=np.float32).reshape(23, 1) * 2, "y": np.arange(23)}


def test_a_batch_depends_on_seed_and_step_alone():
    straight = data.batches(ARRAYS, 4)
    run = [straight(3, step) for step in range(20)]
    resumed = data.batches(ARRAYS, 4)
    for step in (17, 2, 19, 0, 11):  # any order, any process
        batch = resumed(3, step)
        for key in ARRAYS:
            np.testing.assert_array_equal(batch[key], run[step][key])
    assert not np.array_equal(straight(4, 0)["y"], run[0]["y"])


def test_rows_stay_together():
    batch = data.batches(ARRAYS, 4)(0, 9)
    np.testing.assert_array_equal(batch["x"][:, 0], 2 * batch["y"])


def test_an_epoch_visits_each_example_once_and_drops_the_remainder():
    batch = data.batches(ARRAYS, 4)
    epochs = [
        np.concatenate([batch(0, epoch * 5 + place)["y"] for place in range(5)])
        for epoch in range(3)
    ]
    for visited in epochs:
        assert len(set(visited.tolist())) == 20
    assert not np.array_equal(epochs[0], epochs[1])
    dropped = [set(range(23)) - set(visited.tolist()) for visited in epochs]
    assert dropped[0] != dropped[1]  # the remainder is another one each time


def test_every_order_is_about_equally_likely():
    batch = data.batches(np.arange(3), 3)
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(60):
        for epoch in range(50):
            order = tuple(batch(seed, epoch).tolist())
            counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 20.5  # chi2(5), p = 0.001


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_shards_of_a_step_are_the_batch(count):
    whole = data.batches(ARRAYS, 8)
    shards = [data.batches(ARRAYS, 8, shard=(index, count)) for index in range(count)]
    for step in range(5):
        parts = [shard(1, step)["y"] for shard in shards]
        assert all(len(part) == 8 // count for part in parts)
        np.testing.assert_array_equal(np.concatenate(parts), whole(1, step)["y"])


def test_the_order_is_pinned():
    # A change here changes every recorded run.
    batch = data.batches(np.arange(10), 5)
    np.testing.assert_array_equal(batch(0, 0), [0, 8, 9, 3, 7])
    np.testing.assert_array_equal(batch(7, 3), [8, 3, 2, 5, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"batch_size: expected 1 to 23.*got 0"),
        ({"batch_size": 24}, r"batch_size: expected 1 to 23.*got 24"),
        ({"batch_size": 4, "shard": (2, 2)}, r"shard: expected .*got \(2, 2\)"),
        ({"batch_size": 4, "shard": (0, 3)}, r"a multiple of 3 shards; got 4"),
    ],
)
def test_impossible_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.batches(ARRAYS, **arguments)


def test_leaves_of_different_length_are_named():
    with pytest.raises(ValueError, match=r"one length; got .*'x'.*3.*'y'.*4"):
        data.batches({"x": np.zeros(3), "y": np.zeros(4)}, 1)
    with pytest.raises(ValueError, match="seed, step: expected non-negative"):
        data.batches(ARRAYS, 4)(0, -1)
