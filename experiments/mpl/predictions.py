"""Files of unlabelled images: a pool of one's own, and a teacher's distributions of a pool.

A run with `data.write_predictions` leaves the latter in its workdir: of all unlabelled images of
its config, in their order. Another run reads the file (`data.predictions`) to choose its unlabelled
images (`data.top_per_class`, sections 5.3.3 and 5.7.14), or as the labels of a teacher that no
longer takes memory (section 5.7.14): where images are read from disk, and with `stages.teacher=0`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from experiments.runner.checks import ConfigError
from mpl.splits import Split, top_of_each_class

FILE = "predictions.npy"


def write(workdir: Path | str, parts: Iterable[np.ndarray], shape: tuple[int, int]) -> Path:
    """Writes `workdir/predictions.npy`, float16 `[images, classes]`.

    Args:
        workdir: an existing folder.
        parts: logits of consecutive images, `[any, classes]`.
        shape: images and classes.

    Raises:
        ValueError: the parts hold another number of images.
    """
    path, done = Path(workdir) / FILE, 0
    # Put in place when it is whole: a file that a kill cut short has the shape of a whole one.
    unfinished = path.with_suffix(".part")
    kept = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=shape)
    for logits in parts:
        if done + len(logits) > shape[0]:
            raise ValueError(f"parts: expected {shape[0]} images, got more")
        kept[done : done + len(logits)] = np.asarray(jax.nn.softmax(logits))
        done += len(logits)
    if done != shape[0]:
        raise ValueError(f"parts: expected {shape[0]} images, got {done}")
    kept.flush()
    unfinished.replace(path)
    return path


def read(config: ConfigDict, shape: tuple[int, int]) -> np.ndarray:
    """The distributions at `data.predictions`, float16 or float32 `[images, classes]`, on disk.

    Raises:
        ConfigError: there is no such file, or it is of other images or classes.
    """
    wanted = f"a file of distributions of {shape[0]} images and {shape[1]} classes"
    found = _array("data.predictions", config.data.predictions, wanted)
    if found.shape != shape or not np.issubdtype(found.dtype, np.floating):
        raise _unlike("data.predictions", config.data.predictions, wanted, found)
    return found


def rows(config: ConfigDict, predictions: np.ndarray) -> np.ndarray:
    """Which images of a pool `data.top_per_class`, `confidence` and `repeat` keep, int64."""
    given = config.data
    options = {"confidence": given.confidence, "repeat": given.repeat}
    return top_of_each_class(predictions, given.top_per_class, **options)


def chosen(config: ConfigDict, found: Split, targets: bool) -> tuple[Split, np.ndarray | None]:
    """The split with those unlabelled images alone that a teacher's predictions choose.

    Args:
        config: of `configs/mpl`.
        found: all images.
        targets: whether the predictions are wanted too, float32 `[kept, classes]`.

    Raises:
        ConfigError: no file of predictions that fits where one is needed, or no image is kept.
    """
    if not (config.data.top_per_class or targets):
        return found, None
    given = read(config, (len(found.unlabelled), found.classes))
    kept = rows(config, given) if config.data.top_per_class else np.arange(len(given))
    if not len(kept):
        raise ConfigError("data.confidence", "a bound that some image passes", 0)
    split = found._replace(unlabelled=found.unlabelled[kept], hidden=found.hidden[kept])
    return split, np.asarray(given[kept], np.float32) if targets else None


def pool_of(
    wanted: str, arrays: dict[str, Any]
) -> tuple[UInt8[np.ndarray, "N h w c"], Int[np.ndarray, " N"]] | None:
    """What `data.pool` names: "" for None, "extra" for the extra images alone, or a .npy file.

    The file holds bytes `[N, height, width, channel]` of a data set's shape, which have to fit
    into the device's memory. CIFAR-10 was taken from TinyImages, so a pool from there may hold its
    test images: such a file is refused.

    Raises:
        ConfigError: there is no such file, it holds something else, or some of the test images.
    """
    if not wanted:
        return None
    if wanted == "extra":
        return arrays["extra_images"], arrays["extra_labels"]
    shape = arrays["train_images"].shape[1:]
    expected = f"a .npy file of uint8 [N, {', '.join(map(str, shape))}]"
    found = _array("data.pool", wanted, expected)
    if found.dtype != np.uint8 or found.shape[1:] != shape or not len(found):
        raise _unlike("data.pool", wanted, expected, found)
    tested = {image.tobytes() for image in arrays["test_images"]}
    both = sum(image.tobytes() in tested for image in found)
    if both:
        raise ConfigError("data.pool", "no image of the test set", f"{both} of them in {wanted}")
    return found, np.full(len(found), -1, np.int32)


def _array(key: str, path: str, expected: str) -> np.ndarray:
    """The one array of a .npy file, on disk."""
    try:
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(key, expected, path) from error
    if not isinstance(found, np.ndarray):
        raise ConfigError(key, expected, f"several arrays in {path}")
    return found


def _unlike(key: str, path: str, expected: str, found: np.ndarray) -> ConfigError:
    return ConfigError(key, expected, f"{path}: {found.dtype}{list(found.shape)}")
