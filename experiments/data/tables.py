"""Small real tables and images that scikit-learn carries, and tables made here: no download."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

PLAIN_CNN = Path(__file__).parent / "bundled" / "plain_cnn.csv"


def load_digits() -> dict[str, Any]:
    """Handwritten digits of 8x8 pixels (UCI, 1,797 of them).

    Returns:
      train_images: uint8 [1500, 8, 8, 1], values 0 to 16 (not 255); train_labels: int32 [1500];
      test_images: uint8 [297, 8, 8, 1]; test_labels: int32 [297]. The file is in the order of its
      writers, so the test images are of other hands.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    images, labels = bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int32)
    return {
        "train_images": images[:1500],
        "train_labels": labels[:1500],
        "test_images": images[1500:],
        "test_labels": labels[1500:],
    }


def load_moons(*, count: int = 2000, noise: float = 0.1, seed: int = 0) -> dict[str, Any]:
    """Two interleaved half circles in the plane, with Gaussian noise.

    Returns:
      features: float32 [count, 2]; labels: int32 [count], 0 or 1, in random order.
    """
    from sklearn import datasets

    features, labels = datasets.make_moons(count, noise=noise, random_state=seed)
    return {"features": features.astype(np.float32), "labels": labels.astype(np.int32)}


def load_wine() -> dict[str, Any]:
    """Chemical measurements of 178 wines of three cultivars.

    Returns:
      features: float32 [178, 13], in the table's own units; labels: int32 [178]; names: the 13
      columns.
    """
    from sklearn import datasets

    return _table(datasets.load_wine())


def load_breast_cancer() -> dict[str, Any]:
    """Measurements of 569 cell samples, malignant (0) or benign (1).

    Returns:
      features: float32 [569, 30], in the table's own units; labels: int32 [569]; names: the 30
      columns.
    """
    from sklearn import datasets

    return _table(datasets.load_breast_cancer())


def _table(bunch: Any) -> dict[str, Any]:
    return {
        "features": bunch.data.astype(np.float32),
        "labels": bunch.target.astype(np.int32),
        "names": [str(name) for name in bunch.feature_names],
    }


def load_plain_cnn() -> dict[str, Any]:
    """What each of 1,364 plain CNNs reaches on 8x8 digits (`search/plain_cnn_training`).

    Returns:
      encodings: int64 [1364, 11], the rows of `search.design_spaces.plain_cnns`;
      accuracy: float64 [1364, seeds], per cent, one column a training.
    """
    with open(PLAIN_CNN, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = [place for place, name in enumerate(header) if name.startswith("accuracy_")]
    encodings = [_plain_cnn(row[1].split("-"), row[2].split("-")) for row in rows]
    return {
        "encodings": np.array(encodings, np.int64),
        "accuracy": np.array([[float(row[place]) for place in columns] for row in rows]),
    }


def _plain_cnn(kernels: list[str], filters: list[str]) -> list[int]:
    code = [len(kernels)]
    for sizes, small in ((kernels, "3"), (filters, "4")):
        code += [1 if size == small else 2 for size in sizes] + [0] * (5 - len(sizes))
    return code
