"""Sentences in two or more languages, aligned line by line."""

import gzip
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from experiments.data import packages

# The versions in the package that are in the public domain.
BIBLE_VERSIONS = {"en": "k", "de": "e", "fr": "o", "es": "v", "it": "d"}
BIBLE_VERSES = 31_102
# Where a version numbers a verse otherwise, its text says so: "(51:2)", "(10:41b)".
_VERSE_NUMBER = re.compile(r"\(\d+[:.-]\d+[a-z]?\)\s*")


def load_multi30k(folder: Path, *, languages: Sequence[str] = ("en", "de")) -> dict[str, Any]:
    """Captions of Flickr images in English, German, French and Czech.

    Args:
      folder: holds the official `train.LANG.gz`, `val.LANG.gz`, `test_2016_flickr.LANG.gz`.
      languages: of en, de, fr, cs.

    Returns:
      {"train_LANG", "val_LANG", "test_LANG"}: lists of 29,000, 1,014 and 1,000 strings, aligned.

    Raises:
      ValueError: an unknown language, or files of different length.
    """
    _check_languages(languages, ("en", "de", "fr", "cs"))
    splits = {"train": "train", "val": "val", "test": "test_2016_flickr"}
    return _aligned(folder, splits, languages)


def load_wmt(
    folder: Path, *, builder: str = "wmt14_translate/de-en", languages: Sequence[str] = ("en", "de")
) -> dict[str, Any]:
    """News translation, from plain aligned files or from tensorflow-datasets.

    Args:
      folder: holds `train.LANG`, `val.LANG`, `test.LANG` (plain or .gz, one sentence a line), or
        what tensorflow-datasets prepared for `builder`.
      builder: the name of the latter.
      languages: the two languages, as in the files' names.

    Returns:
      {"train_LANG", "val_LANG", "test_LANG"}: sequences of strings, aligned. From
      tensorflow-datasets they are read into memory too: 4.5 million pairs take about 2 GB.
    """
    splits = {"train": "train", "val": "validation", "test": "test"}
    if any(folder.glob(f"train.{languages[0]}*")):
        return _aligned(folder, {split: split for split in splits}, languages)
    prepared = packages.tfds_builder(builder, folder)
    result: dict[str, list[str]] = {f"{split}_{each}": [] for split in splits for each in languages}
    for split, official in splits.items():
        for pair in prepared.as_data_source(official):
            for language in languages:
                text = pair[language]
                line = text.decode("utf-8") if isinstance(text, bytes) else text
                result[f"{split}_{language}"].append(line)
    return result


def load_bible(folder: Path, *, languages: Sequence[str] = ("en", "de")) -> dict[str, Any]:
    """The Bible's 31,102 verses in public-domain versions.

    King James (en), Elberfelder (de), Ostervald (fr), Reina-Valera 1909 (es), Diodati (it).

    Args:
      folder: holds `LANG.txt.gz`, one verse a line, as `convert_bible` leaves them.
      languages: of en, de, fr, es, it.

    Returns:
      {"train_LANG", "val_LANG", "test_LANG"}: lists of strings, aligned: of every 20 verses 18, one
      and one.
    """
    _check_languages(languages, tuple(BIBLE_VERSIONS))
    result: dict[str, Any] = {}
    for language in languages:
        verses = _lines(folder / f"{language}.txt.gz")
        result[f"train_{language}"] = [x for place, x in enumerate(verses) if place % 20 < 18]
        result[f"val_{language}"] = verses[18::20]
        result[f"test_{language}"] = verses[19::20]
    return result


def convert_bible(members: Path, target: Path) -> None:
    """Write the public-domain versions of the package's SQLite file as text, one verse a line.

    Raises:
      ValueError: a version does not have the same verses as the English one.
    """
    path = next(members.rglob("bible.db"))
    query = (
        "SELECT bNumber, cNumber, vNumber, vText FROM bible WHERE bbName = ? "
        "ORDER BY bNumber, cNumber, vNumber"
    )
    places = None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for language, version in BIBLE_VERSIONS.items():
            rows = connection.execute(query, (version,)).fetchall()
            found = [row[:3] for row in rows]
            places = places or found
            if found != places or len(found) != BIBLE_VERSES:
                words = f"expected {BIBLE_VERSES} verses in the order of the English ones"
                raise ValueError(f"bible, {language}: {words}; got {len(found)}")
            verses = (" ".join(_VERSE_NUMBER.sub("", row[3]).split()) for row in rows)
            # A time of 0 keeps the file's checksum the same every time.
            content = gzip.compress("".join(f"{verse}\n" for verse in verses).encode(), mtime=0)
            (target / f"{language}.txt.gz").write_bytes(content)


def _aligned(folder: Path, splits: dict[str, str], languages: Sequence[str]) -> dict[str, Any]:
    result = {}
    for split, stem in splits.items():
        lengths = {}
        for language in languages:
            plain, packed = folder / f"{stem}.{language}", folder / f"{stem}.{language}.gz"
            lines = _lines(packed if packed.exists() else plain)
            result[f"{split}_{language}"] = lines
            lengths[language] = len(lines)
        if len(set(lengths.values())) != 1:
            raise ValueError(f"{stem}: expected files of one length; got {lengths}")
    return result


def _lines(path: Path) -> list[str]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    # Not splitlines(): it also breaks at characters inside sentences (U+2028, form feed), losing
    # the alignment.
    return [line.strip() for line in text.removesuffix("\n").split("\n")]


def _check_languages(languages: Sequence[str], known: tuple[str, ...]) -> None:
    for language in languages:
        if language not in known:
            raise ValueError(f"languages: expected some of {', '.join(known)}; got {language!r}")
