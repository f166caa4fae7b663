"""Text readers, on small files of the official formats."""

import gzip
import sqlite3
from pathlib import Path

import pytest

from experiments.data import parallel_text, text


def test_pydoc_is_english_in_three_disjoint_parts():
    parts = text.load_pydoc()
    assert sum(map(len, parts.values())) > 80_000
    assert len(parts["train"]) > 5 * len(parts["valid"]) > 0
    assert len(parts["test"]) > 5_000
    for tokens in parts.values():
        assert tokens[-1] == "<eos>"
        assert tokens.count("the") > len(tokens) / 50
        assert not any(token.strip() != token or token != token.lower() for token in tokens)


def test_brown_drops_the_tags_and_splits_by_sample(tmp_path):
    for number in range(1, 21):
        words = f"\n\n\tThe/at and/or/cc sample{number}/nn ./.\n\n\tYes/rb\n"
        (tmp_path / f"ca{number:02}").write_text(words)
    (tmp_path / "cats.txt").write_text("not/a sample/x")
    parts = text.load_brown(tmp_path)
    assert parts["train"][:7] == ["The", "and/or", "sample1", ".", "<eos>", "Yes", "<eos>"]
    assert len(parts["train"]) == 7 * 16
    assert [word for word in parts["valid"] if word.startswith("sample")] == ["sample9", "sample19"]
    assert [word for word in parts["test"] if word.startswith("sample")] == ["sample10", "sample20"]


def test_penn_treebank_lines_end_in_eos(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text(f" a <unk> {split} \n no it was n't \n")
    parts = text.load_penn_treebank(tmp_path)
    assert parts["valid"] == ["a", "<unk>", "valid", "<eos>", "no", "it", "was", "n't", "<eos>"]


def write_multi30k(folder: Path, **lines: int) -> None:
    for stem in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de", "fr", "cs"):
            rows = [f"{stem} {language} {row} \u2028ü" for row in range(lines.get(language, 3))]
            content = "".join(f"{row}\n" for row in rows).encode()
            (folder / f"{stem}.{language}.gz").write_bytes(gzip.compress(content))


def test_multi30k_is_aligned(tmp_path):
    write_multi30k(tmp_path)
    loaded = parallel_text.load_multi30k(tmp_path, languages=("de", "cs"))
    assert sorted(loaded) == [f"{s}_{x}" for s in ("test", "train", "val") for x in ("cs", "de")]
    # A line separator inside a sentence does not end it.
    assert loaded["test_de"] == [f"test_2016_flickr de {row} \u2028ü" for row in range(3)]


def test_files_of_different_length_are_refused(tmp_path):
    write_multi30k(tmp_path, de=2)
    with pytest.raises(ValueError, match=r"train: expected files of one length; .*'de': 2"):
        parallel_text.load_multi30k(tmp_path)


def test_an_unknown_language_is_named(tmp_path):
    with pytest.raises(ValueError, match="languages: expected some of en, de, fr, cs; got 'it'"):
        parallel_text.load_multi30k(tmp_path, languages=("en", "it"))


def write_bible(path: Path, verses: int, missing: str = "") -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE bible (id, bbName, bNumber, cNumber, vNumber, vText, "
            "PRIMARY KEY (bbName, bNumber, cNumber, vNumber))"
        )
        for version in (*parallel_text.BIBLE_VERSIONS.values(), "x"):
            rows = [
                (row, version, 1, row // 10, row % 10, f"({row}:2b) {version}  verse {row} ")
                for row in reversed(range(verses - (version == missing)))
            ]
            connection.executemany("INSERT INTO bible VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def test_bible_verses_are_aligned_and_cleaned(monkeypatch, tmp_path):
    monkeypatch.setattr(parallel_text, "BIBLE_VERSES", 40)
    write_bible(tmp_path / "bible.db", 40)
    target = tmp_path / "target"
    target.mkdir()
    parallel_text.convert_bible(tmp_path, target)
    assert sorted(path.name for path in target.iterdir()) == [
        f"{language}.txt.gz" for language in ("de", "en", "es", "fr", "it")
    ]
    loaded = parallel_text.load_bible(target, languages=("en", "it"))
    assert loaded["train_en"][:2] == ["k verse 0", "k verse 1"]
    assert len(loaded["train_it"]) == 36
    assert loaded["val_it"] == ["d verse 18", "d verse 38"]
    assert loaded["test_en"] == ["k verse 19", "k verse 39"]
    first = (target / "de.txt.gz").read_bytes()
    parallel_text.convert_bible(tmp_path, target)
    assert (target / "de.txt.gz").read_bytes() == first


def test_a_version_that_lacks_a_verse_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(parallel_text, "BIBLE_VERSES", 40)
    write_bible(tmp_path / "bible.db", 40, missing="o")
    with pytest.raises(ValueError, match=r"bible, fr: expected 40 verses .*got 39"):
        parallel_text.convert_bible(tmp_path, tmp_path)


def test_wmt_reads_plain_and_packed_files(tmp_path):
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.en").write_text(f"{split} one\ntwo\n")
        (tmp_path / f"{split}.de.gz").write_bytes(gzip.compress(f"{split} eins\nzwei\n".encode()))
    loaded = parallel_text.load_wmt(tmp_path)
    assert loaded["train_en"] == ["train one", "two"]
    assert loaded["val_de"] == ["val eins", "zwei"]


def test_wmt_reads_what_tensorflow_datasets_prepared(tmp_path):
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=3):
        loaded = parallel_text.load_wmt(tmp_path)
    assert sorted(loaded) == ["test_de", "test_en", "train_de", "train_en", "val_de", "val_en"]
    assert all(len(lines) == 3 for lines in loaded.values())
    assert all(isinstance(line, str) for line in loaded["train_de"])
