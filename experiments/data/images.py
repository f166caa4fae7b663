"""Labelled images, from their official files or from tensorflow-datasets, in one form.

Every reader that holds its images in memory returns
  train_images: uint8 [N, H, W, C]; train_labels: int32 [N]; test_images; test_labels
with values 0 to 255. Scaling, cropping and splitting off a validation set are the rooms' own
business.
"""

import gzip
import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from experiments.data import packages, registry

CIFAR_RECORD = 1 + 3 * 32 * 32
CIFAR_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
CIFAR_TEST = "test_batch.bin"
_PHOTOGRAPH = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)


def load_fashion_mnist(folder: Path) -> dict[str, Any]:
    """Fashion-MNIST (or MNIST) from the official idx files: 60,000 + 10,000 images, [N, 28, 28, 1].

    Args:
      folder: holds `train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz` and their `t10k-`
      twins.
    """
    result = {}
    for split, stem in (("train", "train"), ("test", "t10k")):
        result[f"{split}_images"] = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")[..., None]
        labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
        result[f"{split}_labels"] = labels.astype(np.int32)
    return result


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """A gzipped idx file of unsigned bytes: magic 0x0000 08 rank, big-endian sizes, data.

    Raises:
      ValueError: another type, or fewer or more bytes than the sizes say.
    """
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"{path.name}: expected an idx file of unsigned bytes; got {content[:3]!r}"
        )
    rank = content[3]
    start = 4 + 4 * rank
    shape = struct.unpack(f">{rank}I", content[4:start])
    if len(content) - start != np.prod(shape):
        raise ValueError(f"{path.name}: expected {shape} bytes; got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def load_mnist_small(folder: Path) -> dict[str, Any]:
    """Ten thousand MNIST digits, [N, 28, 28, 1]; a tenth of each digit's images is for test."""
    with np.load(folder / "mnist.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def convert_mnist_small(members: Path, target: Path) -> None:
    """Turn the package's JSON (pixels in 0..1, three decimals) back into bytes; 1/255 > 0.001."""
    parts: dict[str, list[np.ndarray]] = {}
    for digit in range(10):
        data = json.loads(next(members.rglob(f"{digit}.json")).read_bytes())["data"]
        pixels = np.rint(np.array(data) * 255).astype(np.uint8)
        # One file has a number too many at its end.
        images = pixels[: len(pixels) // 784 * 784].reshape(-1, 28, 28, 1)
        border = len(images) * 9 // 10
        for split, part in (("train", images[:border]), ("test", images[border:])):
            labels = np.full(len(part), digit, np.int32)
            parts.setdefault(f"{split}_images", []).append(part)
            parts.setdefault(f"{split}_labels", []).append(labels)
    arrays: dict[str, Any] = {key: np.concatenate(part) for key, part in parts.items()}
    np.savez(target / "mnist.npz", **arrays)


def load_cifar10(folder: Path) -> dict[str, Any]:
    """CIFAR-10, [N, 32, 32, 3]: 50,000 + 10,000 in the whole set.

    Args:
      folder: holds the official binary version (`data_batch_1.bin` to `_5.bin`, `test_batch.bin`),
        of any length, or what tensorflow-datasets prepared.
    """
    if not (folder / CIFAR_TEST).exists():
        return read_prepared("cifar10", folder)
    result: dict[str, Any] = {}
    for split, names in (("train", CIFAR_TRAIN), ("test", (CIFAR_TEST,))):
        images, labels = read_cifar_records([folder / name for name in names])
        result |= {f"{split}_images": images, f"{split}_labels": labels}
    return result


def read_cifar_records(
    paths: Sequence[Path],
) -> tuple[UInt8[np.ndarray, "N 32 32 3"], Int[np.ndarray, "N"]]:
    """CIFAR-10's records: one label byte, then 1,024 red, green and blue bytes each, row by row.

    Raises:
      ValueError: a file is not a whole number of records, or a label is above 9; the message names
      the file.
    """
    images, labels = [], []
    for path in paths:
        content = np.frombuffer(path.read_bytes(), np.uint8)
        if content.size % CIFAR_RECORD:
            raise ValueError(
                f"{path.name}: expected records of {CIFAR_RECORD} bytes; got {content.size} bytes"
            )
        records = content.reshape(-1, CIFAR_RECORD)
        if records.size and records[:, 0].max() > 9:
            raise ValueError(f"{path.name}: expected labels 0 to 9; got {records[:, 0].max()}")
        labels.append(records[:, 0].astype(np.int32))
        images.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return np.ascontiguousarray(np.concatenate(images)), np.concatenate(labels)


def load_svhn(folder: Path, *, extra: bool = False) -> dict[str, Any]:
    """Street View House Numbers, cropped digits, [N, 32, 32, 3]: 73,257 + 26,032.

    Args:
      folder: holds the official `train_32x32.mat` and `test_32x32.mat`, or what tensorflow-datasets
      prepared.
      extra: also give `extra_images` and `extra_labels`, the 531,131 easier ones of
        `extra_32x32.mat`, which then is in the folder too.

    Raises:
      FileNotFoundError: `extra_32x32.mat` is not there.
    """
    splits = ("train", "test", "extra") if extra else ("train", "test")
    if not (folder / "train_32x32.mat").exists():
        return read_prepared("svhn_cropped", folder, splits)
    import scipy.io

    result: dict[str, Any] = {}
    if extra and not (folder / "extra_32x32.mat").exists():
        raise FileNotFoundError(f"extra_32x32.mat: expected it beside the others in {folder}")
    for split in splits:
        content = scipy.io.loadmat(folder / f"{split}_32x32.mat")
        result[f"{split}_images"] = np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2))
        # The files number the digit 0 as 10.
        result[f"{split}_labels"] = content["y"].reshape(-1).astype(np.int32) % 10
    return result


def load_imagenet(folder: Path) -> dict[str, Any]:
    """ImageNet (ILSVRC 2012), read as it is indexed: the set is too large for memory.

    Args:
      folder: holds `train/WNID/*.JPEG` and `val/WNID/*.JPEG` (one folder a class), or what
        tensorflow-datasets prepared from the official archives.

    Returns:
      train, validation: sequences whose items are {"image": uint8 [H, W, 3] of any size, "label":
      int}. With class folders, labels number the WNIDs in alphabetical order, which is the official
      numbering of tensorflow-datasets.
    """
    if (folder / "train").is_dir():
        return {"train": ClassFolders(folder / "train"), "validation": ClassFolders(folder / "val")}
    prepared = packages.tfds_builder("imagenet2012", folder)
    return {split: prepared.as_data_source(split) for split in ("train", "validation")}


class Folder(Sequence[dict[str, Any]]):
    """Images at any depth in a folder, in the order of their paths, decoded as they are indexed.

    The listing is made once, when the object is.

    Raises:
      FileNotFoundError: no such folder, or no JPEG or PNG in it.
    """

    def __init__(self, folder: Path | str, pattern: str = "**/*") -> None:
        registry.require("PIL", "data", what=f"the folder {folder}")
        found = (path for path in Path(folder).glob(pattern) if _PHOTOGRAPH.search(path.name))
        self._paths = sorted(found)
        if not self._paths:
            raise FileNotFoundError(f"{folder}: expected a folder with .jpg or .png files in it")

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        from PIL import Image

        with Image.open(self._paths[index]) as image:
            # A few of ImageNet's files are CMYK or grey.
            return {"image": np.asarray(image.convert("RGB"))}


class ClassFolders(Folder):
    """Images in one folder a class; an item has a "label" too.

    Attributes:
      classes: the names of the folders, sorted; an item's label is its place here.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder, "*/*")
        self.classes = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        self._labels = {name: place for place, name in enumerate(self.classes)}

    def __getitem__(self, index: Any) -> Any:
        label = self._labels[self._paths[index].parent.name]
        return super().__getitem__(index) | {"label": label}


class Part(Sequence[dict[str, Any]]):
    """Some rows of a sequence, in their order.

    >>> Part("abcd", range(1, 3))[0], len(Part("abcd", [3, 3, 0]))
    ('b', 3)
    """

    def __init__(self, whole: Sequence[Any], rows: Sequence[int] | np.ndarray) -> None:
        self._whole, self._rows = whole, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._whole[int(self._rows[index])]


def read_prepared(
    builder: str, folder: Path, splits: Sequence[str] = ("train", "test")
) -> dict[str, Any]:
    """Every image that tensorflow-datasets prepared as array_record files (needs no TensorFlow)."""
    prepared = packages.tfds_builder(builder, folder)
    result: dict[str, Any] = {}
    for split in splits:
        examples = list(prepared.as_data_source(split))
        result[f"{split}_images"] = np.stack([example["image"] for example in examples])
        result[f"{split}_labels"] = np.array([example["label"] for example in examples], np.int32)
    return result
