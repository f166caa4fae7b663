"""Which images are labelled and unlabelled, their shards, and the best of each class."""

import numpy as np
import pytest

from mpl import splits

RNG = np.random.default_rng(0)


def _arrays(count=20, test=6):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    labels = (np.arange(count) % 4).astype(np.int32)
    return {
        "train_images": images,
        "train_labels": labels,
        "test_images": images[:test],
        "test_labels": labels[:test],
    }


def test_split_in_the_order_of_the_files():
    found = splits.split(_arrays(), labelled=4, reserved=5)
    assert found.labelled[:, 0, 0, 0].tolist() == [5, 6, 7, 8]
    assert found.labels.tolist() == [1, 2, 3, 0]
    assert found.unlabelled[:, 0, 0, 0].tolist() == list(range(9, 20))
    assert found.classes == 4
    same = splits.split(_arrays(), labelled=4, reserved=5, same=True)
    assert np.array_equal(same.unlabelled, same.labelled)
    whole = splits.split(_arrays(), labelled=4, reserved=5, all_labels=True)
    assert len(whole.labelled) == 20
    with pytest.raises(ValueError, match="labelled: expected 1 to 14"):
        splits.split(_arrays(), labelled=15, reserved=5)


def test_cifar10_4k_has_the_thesis_numbers():
    arrays = _arrays(50_000)
    found = splits.split(arrays, labelled=4000, reserved=5000)
    assert (len(found.labelled), len(found.unlabelled)) == (4000, 41_000)
    assert np.array_equal(found.labels, arrays["train_labels"][5000:9000])


def test_shards_of_imagenet():
    first = splits.in_shards(1_281_167, 0, 102)
    assert first[0] == 0
    assert abs(len(first) - 128_000) < 500
    last = splits.in_shards(1_281_167, 1004, 20)
    assert last[-1] == 1_281_166
    assert abs(len(last) - 25_000) < 100
    whole = [splits.in_shards(1000, shard, 1, shards=7) for shard in range(7)]
    assert [index for part in whole for index in part] == list(range(1000))
    with pytest.raises(ValueError, match="count"):
        splits.in_shards(1000, 1000, 25)


def test_top_images_of_each_class():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    assert splits.top_of_each_class(probabilities, 1).tolist() == [0, 1]
    assert splits.top_of_each_class(probabilities, 2).tolist() == [0, 1, 2, 3]
    assert splits.top_of_each_class(probabilities, 9).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_choose_what_a_whole_sort_does(block):
    probabilities = RNG.integers(0, 12, (200, 5)) / 16.0  # with many ties
    order = np.argsort(-probabilities, axis=0, kind="stable")[:9]
    found = splits.top_of_each_class(probabilities, 9, block=block)
    np.testing.assert_array_equal(found, np.unique(order))


def test_confidence_and_repetition_as_for_efficientnet_l2():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    assert splits.top_of_each_class(probabilities, 3, confidence=0.65).tolist() == [0, 1, 3]
    rows = splits.top_of_each_class(probabilities, 3, confidence=0.65, repeat=True)
    assert rows.tolist() == [0, 0, 1, 3, 3, 3]
    none = splits.top_of_each_class(probabilities, 3, confidence=0.95, repeat=True)
    assert none.tolist() == []


def test_svhn_has_the_thesis_603_thousand_unlabelled_images():
    pixel = np.zeros((1, 1, 1, 1), np.uint8)

    def part(count):
        return np.broadcast_to(pixel, (count, 1, 1, 1)), np.zeros(count, np.int32)

    names = {"train": 73_257, "test": 26_032, "extra": 531_131}
    arrays = {}
    for name, count in names.items():
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = part(count)
    found = splits.split(arrays, labelled=1000, reserved=5000)
    assert len(found.unlabelled) == len(found.hidden) == 603_388
    assert len(found.test) == 26_032
