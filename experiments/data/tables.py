"""Small real tables and images that scikit-learn carries, and its two moons: no download."""

from pathlib import Path
from typing import Any

import numpy as np


def load_digits(folder: Path | None = None) -> dict[str, Any]:
    """Handwritten digits of 8x8 pixels (UCI, 1,797 of them).

    Returns:
      train_images: uint8 [1500, 8, 8, 1], values 0 to 16 (not 255); train_labels: int32 [1500];
      test_images: uint8 [297, 8, 8, 1]; test_labels: int32 [297]. The file is in the order of its
      writers, so the test images are of other hands.
    """
    del folder  # inside an installed package
    from sklearn.datasets import load_digits as read

    bunch = read()
    images = bunch.images.astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    return {
        "train_images": images[:1500],
        "train_labels": labels[:1500],
        "test_images": images[1500:],
        "test_labels": labels[1500:],
    }


def load_moons(
    folder: Path | None = None, *, count: int = 2000, noise: float = 0.1, seed: int = 0
) -> dict[str, Any]:
    """Two interleaved half circles in the plane, with Gaussian noise.

    Returns:
      features: float32 [count, 2]; labels: int32 [count], 0 or 1, in random order.
    """
    del folder  # generated
    from sklearn.datasets import make_moons

    features, labels = make_moons(count, noise=noise, random_state=seed)
    return {"features": features.astype(np.float32), "labels": labels.astype(np.int32)}


def load_wine(folder: Path | None = None) -> dict[str, Any]:
    """Chemical measurements of 178 wines of three cultivars.

    Returns:
      features: float32 [178, 13], in the table's own units; labels: int32 [178]; names: the 13
      columns.
    """
    del folder  # inside an installed package
    from sklearn.datasets import load_wine as read

    return _table(read())


def load_breast_cancer(folder: Path | None = None) -> dict[str, Any]:
    """Measurements of 569 cell samples, malignant (0) or benign (1).

    Returns:
      features: float32 [569, 30], in the table's own units; labels: int32 [569]; names: the 30
      columns.
    """
    del folder  # inside an installed package
    from sklearn.datasets import load_breast_cancer as read

    return _table(read())


def _table(bunch: Any) -> dict[str, Any]:
    return {
        "features": bunch.data.astype(np.float32),
        "labels": bunch.target.astype(np.int32),
        "names": [str(name) for name in bunch.feature_names],
    }
