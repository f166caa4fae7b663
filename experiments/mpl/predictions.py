"""A teacher's distributions of a pool of images, in a file of their own.

A run with `data.write_predictions` leaves them in its workdir: of all unlabelled images of its
config, in their order. Another run reads the file (`data.predictions`) to choose its unlabelled
images (`data.top_per_class`, sections 5.3.3 and 5.7.14), or as the labels of a teacher that no
longer takes memory (section 5.7.14): where images are read from disk, and with `stages.teacher=0`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.mpl.splits import Split, top_of_each_class
from experiments.runner.checks import ConfigError

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
    path = Path(config.data.predictions)
    wanted = f"a file of distributions of {shape[0]} images and {shape[1]} classes"
    if not config.data.predictions or not path.is_file():
        raise ConfigError("data.predictions", wanted, config.data.predictions)
    try:
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError("data.predictions", wanted, str(path)) from error
    if not isinstance(found, np.ndarray):
        raise ConfigError("data.predictions", wanted, f"several arrays in {path}")
    if getattr(found, "shape", None) != shape or not np.issubdtype(found.dtype, np.floating):
        raise ConfigError("data.predictions", wanted, f"{path}: {found.dtype}{list(found.shape)}")
    return found


def rows(config: ConfigDict, predictions: np.ndarray) -> np.ndarray:
    """Which images of a pool `data.top_per_class`, `confidence` and `repeat` keep, int64."""
    return top_of_each_class(
        predictions,
        config.data.top_per_class,
        confidence=config.data.confidence,
        repeat=config.data.repeat,
    )


def targets(config: ConfigDict, whole: Split) -> np.ndarray:
    """The distributions of the images that `chosen` keeps, float32 `[kept, classes]`.

    Raises:
        ConfigError: there is no file of predictions that fits.
    """
    found = read(config, (len(whole.unlabelled), whole.classes))
    kept = rows(config, found) if config.data.top_per_class else slice(None)
    return np.asarray(found[kept], np.float32)


def chosen(config: ConfigDict, found: Split) -> Split:
    """The split with those unlabelled images alone that a teacher's predictions choose.

    Raises:
        ConfigError: `data.top_per_class` without a file of predictions that fits, or none is kept.
    """
    if not config.data.top_per_class:
        return found
    kept = rows(config, read(config, (len(found.unlabelled), found.classes)))
    if not len(kept):
        raise ConfigError("data.confidence", "a bound that some image passes", 0)
    return found._replace(unlabelled=found.unlabelled[kept], hidden=found.hidden[kept])
