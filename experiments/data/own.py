"""A user's own images and text, in the form of the data sets that have a name.

    own.load_images("photos", size=32)    # photos/cat/*.png, photos/dog/*.png, …
    own.load_text("book.txt")             # or a folder with train.txt, valid.txt and test.txt

Nothing is copied or kept: the files are read where they lie. What is wrong with them is a
`UserError` that names the path.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from experiments.data import registry
from experiments.data.text import EOS
from experiments.runner.checks import UserError

_SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # of Pillow
_TOKEN = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_FEWEST_LINES = 10


def load_images(folder: str | Path, size: int | None = None) -> dict[str, Any]:
    """Images in one folder a class, PNG or JPEG at any depth in it.

    Hidden files and folders are passed over. Images are grey if all files are, else in colour;
    transparency is dropped, and photographs are turned as their camera says.

    Args:
      folder: holds the folders of the classes, or a pair of folders `train` and `test` that do. In
        the first case a tenth of each class, rounded up, is for test: those images whose names
        have the smallest hashes, so the same ones on every machine and in every run.
      size: side of the squares that all images become, pixels: the middle, scaled. None leaves
        them as they are, all of one size.

    Returns:
      train_images: uint8 [N, H, W, C]; train_labels: int32 [N]; test_images; test_labels, each
      class's images by their paths; classes: the names of the folders, sorted, which labels number.

    Raises:
      UserError: names the folder or file, what was expected, and what came.
      ImportError: Pillow is absent.
    """
    registry.require("PIL", "data", what=f"the folder {folder}")
    if size is not None and size < 1:
        raise UserError(f"size: expected a number of pixels of at least 1, got {size}")
    splits, classes = _image_paths(Path(folder).expanduser())
    every = [path for split in splits.values() for paths in split for path in paths]
    read = dict(zip(every, _read_all(every, size), strict=True))
    result: dict[str, Any] = {}
    for name, split in splits.items():
        result[f"{name}_images"] = np.stack([read[path] for paths in split for path in paths])
        result[f"{name}_labels"] = _labels([len(paths) for paths in split])
    return result | {"classes": classes}


def _image_paths(folder: Path) -> tuple[dict[str, list[list[Path]]], list[str]]:
    """The files of each split, by class, and the names of the classes."""
    names = _subfolders(folder)
    if "train" in names or "test" in names:
        if names != ["test", "train"]:
            wanted = "expected the folders test and train, or one folder a class"
            raise UserError(f"{folder}: {wanted}; got {', '.join(names)}")
        classes, tested = (_subfolders(folder / split) for split in ("train", "test"))
        if classes != tested:
            wanted = f"expected the classes of train ({_some(classes)})"
            raise UserError(f"{folder / 'test'}: {wanted}; got {_some(tested)}")
        pairs = {split: [_files(folder / split / name) for name in classes] for split in names}
        return {split: pairs[split] for split in ("train", "test")}, classes
    splits: dict[str, list[list[Path]]] = {"train": [], "test": []}
    for name in names:
        paths = _files(folder / name)
        if len(paths) < 2:
            raise UserError(f"{folder / name}: expected at least 2 images, one for test; got 1")
        order = sorted(paths, key=lambda path: _hash(path.relative_to(folder)))
        tests = set(order[: -(-len(paths) // 10)])
        splits["train"].append([path for path in paths if path not in tests])
        splits["test"].append([path for path in paths if path in tests])
    return splits, names


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise UserError(f"{folder}: expected a folder with one folder a class, got {got}")
    names = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if len(names) < 2:
        raise UserError(
            f"{folder}: expected at least 2 folders, one a class; got {_some(names) or 'none'}"
        )
    return names


def _files(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise UserError(f"{folder}: expected .png or .jpg files in it, got none")
    return found


def _hash(path: Path) -> str:
    return hashlib.sha256(path.as_posix().encode("utf-8", "surrogateescape")).hexdigest()


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:5], "…"] if len(names) > 5 else names)


def _labels(counts: Sequence[int]) -> Int[np.ndarray, " images"]:
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _read_all(paths: Sequence[Path], size: int | None) -> list[UInt8[np.ndarray, "H W C"]]:
    images = [_read(path, size) for path in paths]
    if any(image.ndim == 3 for image in images):  # grey files among others
        images = [image if image.ndim == 3 else np.stack([image] * 3, -1) for image in images]
    else:
        images = [image[..., None] for image in images]
    height, width, _ = images[0].shape
    for path, image in zip(paths, images, strict=True):
        if image.shape[:2] != (height, width):
            wanted = f"expected {width}x{height} pixels as in {paths[0]}, or size=PIXELS for all"
            raise UserError(f"{path}: {wanted}; got {image.shape[1]}x{image.shape[0]}")
    return images


def _read(path: Path, size: int | None) -> UInt8[np.ndarray, "H W *C"]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if opened.mode not in (*_GREY, *_COLOUR):
                wanted = "expected an image of 8 bits a channel"
                raise UserError(f"{path}: {wanted}; got mode {opened.mode} of Pillow")
            image = ImageOps.exif_transpose(opened)
            image = image.convert("L" if image.mode in _GREY else "RGB")
    except (OSError, SyntaxError) as error:  # the second is what a broken PNG raises
        raise UserError(f"{path}: expected a PNG or JPEG image; {error}") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def load_text(path: str | Path, *, raw: bool = False) -> dict[str, Any]:
    """A text for language models; every line ends in the token `<eos>`.

    Args:
      path: a file, UTF-8, of which the first eight tenths of the lines are for training, one for
        validation and the last for test, empty lines left out; or a folder in Mikolov's layout,
        with `train.txt`, `valid.txt` and `test.txt`, or with one word before each (`ptb.train.txt`,
        `wiki.train.txt`).
      raw: the text is as people write it: make it lower case and set punctuation apart. Otherwise
        tokens are what stands between spaces.

    Returns:
      train, valid, test: lists of tokens.

    Raises:
      UserError: names the path, what was expected, and what came.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        files = _mikolov(path)
        return {split: _tokens(_lines(file), raw) for split, file in files.items()}
    lines = [line for line in _lines(path) if line.strip()]
    if len(lines) < _FEWEST_LINES:
        wanted = f"expected at least {_FEWEST_LINES} lines, to be split into train, valid and test"
        raise UserError(f"{path}: {wanted}; got {len(lines)}")
    first, second = len(lines) * 8 // 10, len(lines) * 9 // 10
    parts = {"train": lines[:first], "valid": lines[first:second], "test": lines[second:]}
    return {split: _tokens(part, raw) for split, part in parts.items()}


def _mikolov(folder: Path) -> dict[str, Path]:
    found = {
        split: sorted({*folder.glob(f"{split}.txt"), *folder.glob(f"*.{split}.txt")})
        for split in ("train", "valid", "test")
    }
    for split, files in found.items():
        if len(files) != 1:
            wanted = f"expected one {split}.txt (or NAME.{split}.txt) beside the other splits"
            got = _some([file.name for file in files]) or "none"
            raise UserError(f"{folder}: {wanted}; got {got}")
    return {split: file for split, (file,) in found.items()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected text in UTF-8; {error}") from error
    except OSError as error:
        raise UserError(f"{path}: expected a text file or a folder; {error.strerror}") from error


def _tokens(lines: Iterable[str], raw: bool) -> list[str]:
    split = [_TOKEN.findall(line.lower()) if raw else line.split() for line in lines]
    return [token for words in split for token in (*words, EOS)]
