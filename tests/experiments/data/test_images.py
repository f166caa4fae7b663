"""Image readers, on small files of the official formats and on tensorflow-datasets' mocks."""

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import images, packages, registry

RNG = np.random.default_rng(0)
KEYS = ["train_images", "train_labels", "test_images", "test_labels"]


def write_idx(path: Path, array: np.ndarray) -> None:
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def test_idx_files_of_fashion_mnist(tmp_path):
    pixels = RNG.integers(0, 256, (5, 28, 28), np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    for stem in ("train", "t10k"):
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte.gz", pixels)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte.gz", labels)
    loaded = images.load_fashion_mnist(tmp_path)
    assert list(loaded) == KEYS
    np.testing.assert_array_equal(loaded["test_images"][..., 0], pixels)
    np.testing.assert_array_equal(loaded["train_labels"], labels)
    assert loaded["train_labels"].dtype == np.int32


def test_a_wrong_or_torn_idx_file_is_named(tmp_path):
    path = tmp_path / "torn.gz"
    write_idx(path, np.zeros((2, 3), np.uint8))
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:-1]))
    with pytest.raises(ValueError, match=r"torn\.gz: expected \(2, 3\) bytes; got 5"):
        images.read_idx(path)
    path.write_bytes(gzip.compress(b"\0\0\x0d\x01" + content[4:]))
    with pytest.raises(ValueError, match="unsigned bytes"):
        images.read_idx(path)


def test_the_json_of_small_mnist_gives_the_bytes_back(tmp_path):
    pixels = {digit: RNG.integers(0, 256, (10 + digit, 28, 28), np.uint8) for digit in range(10)}
    for digit, block in pixels.items():
        values = [round(float(value), 3) for value in block.reshape(-1) / 255]
        (tmp_path / f"{digit}.json").write_text(json.dumps({"data": values + [0] * (digit == 0)}))
    images.convert_mnist_small(tmp_path, tmp_path)
    loaded = images.load_mnist_small(tmp_path)
    for digit, block in pixels.items():
        border = len(block) * 9 // 10
        for split, expected in (("train", block[:border]), ("test", block[border:])):
            chosen = loaded[f"{split}_images"][loaded[f"{split}_labels"] == digit]
            np.testing.assert_array_equal(chosen[..., 0], expected)


def write_cifar(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)  # planar RGB
    path.write_bytes(np.concatenate([labels[:, None], planes], axis=1).astype(np.uint8).tobytes())


def test_cifar10_records(tmp_path):
    pixels = RNG.integers(0, 256, (18, 32, 32, 3), np.uint8)
    labels = RNG.integers(0, 10, 18)
    for place, name in enumerate((*images.CIFAR_TRAIN, images.CIFAR_TEST)):
        write_cifar(tmp_path / name, pixels[3 * place :][:3], labels[3 * place :][:3])
    loaded = images.load_cifar10(tmp_path)
    assert list(loaded) == KEYS
    np.testing.assert_array_equal(loaded["train_images"], pixels[:15])
    np.testing.assert_array_equal(loaded["train_labels"], labels[:15])
    np.testing.assert_array_equal(loaded["test_images"], pixels[15:])
    np.testing.assert_array_equal(loaded["test_labels"], labels[15:])


def test_broken_cifar10_records_are_named(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes(3072))
    with pytest.raises(ValueError, match=r"data_batch_1\.bin: expected records of 3073"):
        images.read_cifar_records([path])
    path.write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(ValueError, match="expected labels 0 to 9; got 10"):
        images.read_cifar_records([path])


def test_svhn_mat_files(tmp_path):
    import scipy.io

    pixels = RNG.integers(0, 256, (4, 32, 32, 3), np.uint8)
    for split in ("train", "test"):
        content = {"X": pixels.transpose(1, 2, 3, 0), "y": np.array([[1], [10], [9], [2]])}
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", content)
    loaded = images.load_svhn(tmp_path)
    np.testing.assert_array_equal(loaded["train_images"], pixels)
    np.testing.assert_array_equal(loaded["test_labels"], [1, 0, 9, 2])


def test_imagenet_in_class_folders_is_decoded_when_indexed(tmp_path):
    from PIL import Image

    colours = {"n01": (250, 10, 10), "n02": (10, 10, 250)}
    for split in ("train", "val"):
        for wnid, colour in colours.items():
            (tmp_path / split / wnid).mkdir(parents=True)
            Image.new("RGB", (20, 12), colour).save(tmp_path / split / wnid / "a.JPEG")
    Image.new("L", (4, 4), 7).save(tmp_path / "train" / "n02" / "b.JPEG")
    (tmp_path / "train" / "n02" / "notes.txt").write_text("no image")
    loaded = images.load_imagenet(tmp_path)
    assert loaded["train"].classes == ["n01", "n02"]
    assert len(loaded["train"]) == 3
    first, grey = loaded["train"][0], loaded["train"][2]
    assert first["image"].shape == (12, 20, 3)
    assert first["label"] == 0
    assert abs(first["image"].astype(int) - colours["n01"]).max() < 12
    assert grey["image"].shape == (4, 4, 3)
    assert grey["label"] == 1
    assert len(loaded["validation"]) == 2


def test_mocked_tensorflow_datasets(tmp_path):
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=6):
        for load in (images.load_cifar10, images.load_svhn):
            loaded = load(tmp_path)
            assert list(loaded) == KEYS
            assert loaded["train_images"].shape == (6, 32, 32, 3)
            assert loaded["train_images"].dtype == np.uint8
            assert loaded["test_labels"].shape == (6,)
            assert loaded["test_labels"].dtype == np.int32
        imagenet = images.load_imagenet(tmp_path)
        assert len(imagenet["train"]) == 6
        assert imagenet["validation"][0]["image"].shape[-1] == 3


def test_preparing_says_at_once_that_it_needs_tensorflow(monkeypatch, tmp_path):
    found = packages.importlib.util.find_spec
    monkeypatch.setattr(
        packages.importlib.util,
        "find_spec",
        lambda name: None if name == "tensorflow" else found(name),
    )
    with pytest.raises(ImportError, match=r"pip install tensorflow-cpu, or add --from FOLDER with"):
        data.fetch("cifar10", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_tensorflow_datasets_prepares_is_fetched_and_read(tmp_path):
    """Array_record files, written by a real builder and renamed into place, without TensorFlow."""
    import tensorflow_datasets as tfds
    from PIL import Image

    pixels = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8)
    labels = np.arange(12) % 10

    class ToyImages(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0, 8), "test": self._generate_examples(8, 12)}

        def _generate_examples(self, start, stop):
            for place in range(start, stop):
                content = io.BytesIO()
                Image.fromarray(pixels[place]).save(content, "PNG")
                yield place, {"image": content.getvalue(), "label": int(labels[place])}

    entry = data.DATASETS["cifar10"]._replace(
        name="toy",
        get=packages.from_tfds("toy_images", tensorflow=False),
        forms=(("toy_images/*/dataset_info.json",),),
        load=lambda folder: images.read_prepared("toy_images", folder),
    )
    registry.fetch(entry, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    loaded = registry.load(entry, tmp_path)
    assert len(loaded["train_labels"]) == 8
    # tensorflow-datasets shuffles: an image finds its label by its pixels.
    found = {
        image.tobytes(): label
        for split in ("train", "test")
        for image, label in zip(loaded[f"{split}_images"], loaded[f"{split}_labels"], strict=True)
    }
    assert found == {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}


def test_extra_images_of_svhn(tmp_path):
    import scipy.io

    counts = {"train": 4, "test": 2, "extra": 3}
    for split, count in counts.items():
        pixels = RNG.integers(0, 256, (32, 32, 3, count), np.uint8)
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", {"X": pixels, "y": np.ones((count, 1))})
    loaded = images.load_svhn(tmp_path, extra=True)
    assert loaded["extra_images"].shape == (3, 32, 32, 3)
    assert loaded["extra_labels"].tolist() == [1, 1, 1]
    assert "extra_images" not in images.load_svhn(tmp_path)
    (tmp_path / "extra_32x32.mat").unlink()
    with pytest.raises(FileNotFoundError, match="extra_32x32"):
        images.load_svhn(tmp_path, extra=True)


def test_mocked_extra_images_of_svhn(tmp_path):
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=5):
        loaded = images.load_svhn(tmp_path, extra=True)
    assert loaded["extra_images"].shape == (5, 32, 32, 3)


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    from PIL import Image

    (tmp_path / "b").mkdir()
    for name, grey in (("b/one.png", 3), ("a.JPG", 2), ("c.jpeg", 200)):
        place = tmp_path / name
        Image.new("L", (5, 4), grey).save(place)
    (tmp_path / "notes.txt").write_text("no image")
    found = images.Folder(tmp_path)
    assert len(found) == 3
    assert [int(found[i]["image"].mean()) for i in range(3)] == [2, 3, 200]
    assert found[0]["image"].shape == (4, 5, 3)
    with pytest.raises(FileNotFoundError, match=r"expected a folder with \.jpg"):
        images.Folder(tmp_path / "absent")
