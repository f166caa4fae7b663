"""Datasets for experiments: found by name, fetched by one command, served as stateless batches.

    from experiments import data
    arrays = data.load("wine")                    # dict of NumPy arrays or lists
    batch = data.batches(arrays, 32)(seed, step)  # a function of (seed, step) and nothing else

`python -m experiments.data` lists what there is and what is present; `... show NAME` prints the
arrays that `load` returns, with their shapes. Images and text of your own come in the same form
from `experiments.data.own`, without a name. The room's own preparation (vocabularies,
normalisation, validation splits) is not here.
"""

from pathlib import Path
from typing import Any

from experiments.data import registry
from experiments.data.batches import batches
from experiments.data.catalogue import DATASETS

__all__ = ["DATASETS", "batches", "fetch", "load", "present"]


def load(name: str, *, root: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Read the dataset called `name`; see `registry.load`.

    >>> load("tsp20", count=2)["coords"].shape
    (2, 20, 2)
    """
    return registry.load(registry.lookup(DATASETS, name), root, **options)


def fetch(
    name: str, *, root: str | Path | None = None, given: str | Path | None = None
) -> Path | None:
    """Bring the dataset called `name` to this machine; see `registry.fetch`."""
    return registry.fetch(registry.lookup(DATASETS, name), root, given)


def present(name: str, *, root: str | Path | None = None) -> bool:
    """Whether `load(name)` would find all that it needs on this machine."""
    return registry.present(registry.lookup(DATASETS, name), root)
