"""What a dataset is, where it lies on this machine, and how it comes there.

A dataset is one `Dataset` tuple: words about it, a `load` function, and, where it is not generated
or bundled, a `get` function that fills an empty folder. Everything else (the root folder, atomic
fetching, checksums, the error that names the command) is the same for all of them and lives here.

Layout of the root: `ROOT/NAME/...` holds a dataset's files plus `SHA256SUMS` (as `sha256sum -c`
reads it). A folder appears there by one rename of a finished, verified temporary folder, or not at
all.
"""

import hashlib
import importlib.util
import os
import shlex
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.runner.checks import UserError


class MissingDataset(UserError, FileNotFoundError):
    """A dataset that is not on this machine; the message is the one command that gets it."""


class ChecksumError(UserError):
    """A file whose content is not the one that the registry knows."""


class UnknownDataset(UserError, KeyError):
    """A name that the registry does not hold; the message lists those it does."""

    def __str__(self) -> str:
        return str(self.args[0])


class Dataset(NamedTuple):
    """One entry of the registry.

    Attributes:
      name: what `load` and `fetch` are called with.
      description: one line.
      licence: the licence of the data, or the condition of its use.
      source: where it comes from, in words for the listing.
      load: `(folder, **options) -> dict` of NumPy arrays or lists; `folder` is `ROOT/NAME`, and is
        not given where there is nothing to get.
      get: `(target, given) -> None` fills the empty folder `target`; `given` is the user's own
        folder (`--from`) or None. None for datasets that are generated, bundled, or inside an
        installed package.
      forms: the forms that a complete folder may have, each a tuple of glob patterns relative to
        it; it is complete when every pattern of one form matches something.
      checksums: sha256 of the files that the data is made from, by the name that the source gives
        them. A name that is a glob pattern stands for all its matches: the sha256 of their
        `sha256sum` listing.
      needs: (module, extra): the import that reading needs and the extra of ncolab that brings it.
    """

    name: str
    description: str
    licence: str
    source: str
    load: Callable[..., dict[str, Any]]
    get: Callable[[Path, Path | None], None] | None = None
    forms: tuple[tuple[str, ...], ...] = ()
    checksums: Mapping[str, str] = {}
    needs: tuple[str, str] | None = None


def data_root(root: str | Path | None = None) -> Path:
    """The folder of all datasets: the argument, else $NCOLAB_DATA, else ~/.cache/ncolab/data."""
    chosen = root or os.environ.get("NCOLAB_DATA") or "~/.cache/ncolab/data"
    return Path(chosen).expanduser().absolute()


def lookup(datasets: Mapping[str, Dataset], name: str) -> Dataset:
    """The entry called `name`.

    Raises:
      UnknownDataset: no such entry; the message lists the names.
    """
    if name not in datasets:
        raise UnknownDataset(f"dataset: expected one of {', '.join(datasets)}; got {name!r}")
    return datasets[name]


def complete(dataset: Dataset, folder: Path) -> bool:
    """Whether `folder` holds every file that the dataset's reader opens."""
    return folder.is_dir() and any(
        all(any(folder.glob(pattern)) for pattern in form) for form in dataset.forms
    )


def missing_module(dataset: Dataset) -> str | None:
    """The extra whose absence keeps the dataset from being read, or None."""
    if dataset.needs and importlib.util.find_spec(dataset.needs[0]) is None:
        return dataset.needs[1]
    return None


def require(module: str, extra: str, what: str) -> None:
    """Check that an optional package is there, before the import that would fail less helpfully.

    Raises:
      ImportError: it is not; the message names the extra that brings it.
    """
    if importlib.util.find_spec(module) is None:
        raise ImportError(f'{what} needs {module}: pip install "ncolab[{extra}]"')


def command(name: str, root: str | Path | None = None) -> str:
    """The one command that gets a dataset into the root that is being read."""
    parts = ["python", "-m", "experiments.data", "fetch", name]
    if root is not None and data_root(root) != data_root():
        parts += ["--root", str(root)]
    return shlex.join(parts)


def present(dataset: Dataset, root: str | Path | None = None) -> bool:
    """Whether `load` would find all that it needs."""
    if missing_module(dataset):
        return False
    return dataset.get is None or complete(dataset, data_root(root) / dataset.name)


def load(dataset: Dataset, root: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Read a dataset; the keys, shapes and options are those of the entry's own `load`.

    Raises:
      MissingDataset: its files are not there; the message is the command that gets them.
      ImportError: an optional package is absent; the message names the extra.
    """
    if dataset.needs:
        require(*dataset.needs, what=f"dataset {dataset.name!r}")
    if dataset.get is None:
        return dataset.load(**options)
    folder = data_root(root) / dataset.name
    if not complete(dataset, folder):
        raise MissingDataset(
            f"dataset {dataset.name!r} is not in {data_root(root)}. Get it with:\n"
            f"  {command(dataset.name, root)}"
        )
    return dataset.load(folder, **options)


def fetch(
    dataset: Dataset, root: str | Path | None = None, given: str | Path | None = None
) -> Path | None:
    """Bring a dataset's files to `ROOT/NAME`, all or nothing; a second call changes nothing.

    Args:
      dataset: the entry.
      root: see `data_root`.
      given: the user's own folder with the files, instead of the source that the entry names.

    Returns:
      The folder, or None for a dataset that has no files.

    Raises:
      ChecksumError: a file differs from what the registry knows.
      ImportError: reading it would need an optional package that is absent.
      FileExistsError: the folder is there but is not this dataset.
      RuntimeError, FileNotFoundError: the source failed, in its own words.
    """
    if dataset.needs:
        require(*dataset.needs, what=f"dataset {dataset.name!r}")
    if dataset.get is None:
        return None
    folder = data_root(root) / dataset.name
    if complete(dataset, folder):
        return folder
    expected = " or ".join(", ".join(form) for form in dataset.forms)
    if folder.exists():
        raise FileExistsError(f"{folder} exists without {expected}: move it away and fetch again")
    given = None if given is None else Path(given).expanduser().absolute()
    if given is not None and not given.is_dir():
        raise FileNotFoundError(f"--from: expected a folder; got {given}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{dataset.name}-", dir=folder.parent) as hidden:
        made = Path(hidden) / dataset.name
        made.mkdir()
        dataset.get(made, given)
        if not complete(dataset, made):
            raise RuntimeError(f"dataset {dataset.name!r}: the source did not give {expected}")
        write_sums(made)
        try:
            os.replace(made, folder)
        except OSError:
            # Another process finished the same fetch first: its folder is as good as this one.
            if not complete(dataset, folder):
                raise
    return folder


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(folder: Path, pattern: str) -> str:
    """The checksum of what `pattern` matches under `folder`, as `Dataset.checksums` defines it.

    Raises:
      FileNotFoundError: nothing matches.
    """
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise FileNotFoundError(f"{pattern}: no such file in {folder}")
    if not any(letter in pattern for letter in "*?["):
        return sha256(paths[0])
    listing = "".join(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    return hashlib.sha256(listing.encode()).hexdigest()


def verify(folder: Path, checksums: Mapping[str, str]) -> None:
    """Compare the files under `folder` with the checksums that the registry knows.

    Raises:
      ChecksumError: a file differs; the message names it and both checksums.
      FileNotFoundError: a file is absent.
    """
    for pattern, expected in checksums.items():
        found = digest(folder, pattern)
        if found != expected:
            raise ChecksumError(f"{pattern}: expected sha256 {expected}; got {found}")


def write_sums(folder: Path) -> None:
    """Leave the sha256 of every file in `folder/SHA256SUMS`, for `sha256sum -c`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
