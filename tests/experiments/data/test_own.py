"""A user's own images and text, written here in small."""

from pathlib import Path

import numpy as np
import pytest

from experiments.data import own
from experiments.runner.checks import UserError

pillow = pytest.importorskip("PIL.Image")


def write(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.fromarray(pixels).save(path, **options)


def grey(value: int, shape: tuple[int, ...] = (4, 5)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


@pytest.fixture
def classes(tmp_path):
    """Two classes of 11 and 20 grey images; the value of an image is its number."""
    for name, first, count in (("dog", 100, 20), ("cat", 0, 11)):
        for place in range(count):
            write(tmp_path / name / f"{place:02}.png", grey(first + place))
    return tmp_path


def test_one_folder_a_class_is_split_by_the_names_of_the_files(classes):
    found = own.load_images(classes)
    assert found["classes"] == ["cat", "dog"]
    assert found["train_images"].shape == (9 + 18, 4, 5, 1)
    assert found["test_images"].shape == (2 + 2, 4, 5, 1)
    assert found["train_images"].dtype == np.uint8
    assert found["train_labels"].dtype == np.int32
    values = {split: found[f"{split}_images"][:, 0, 0, 0] for split in ("train", "test")}
    assert sorted([*values["train"], *values["test"]]) == [*range(11), *range(100, 120)]
    for split, numbers in values.items():
        np.testing.assert_array_equal(found[f"{split}_labels"], numbers >= 100)
        np.testing.assert_array_equal(numbers, np.sort(numbers))
    # The same on every machine: no order of a folder, no seed and no time goes into it.
    assert values["test"].tolist() == [9, 10, 110, 119]


def test_where_the_folder_lies_and_what_is_hidden_change_nothing(classes, tmp_path):
    before = own.load_images(classes)
    (classes / ".cache").mkdir()
    (classes / "cat" / "._00.png").write_bytes(b"what one system leaves beside the images")
    (classes / "cat" / "notes.txt").write_text("no image")
    moved = classes.rename(tmp_path.parent / f"{tmp_path.name}_moved")
    after = own.load_images(str(moved))
    np.testing.assert_array_equal(before["test_images"], after["test_images"])
    np.testing.assert_array_equal(before["train_images"], after["train_images"])


def test_a_pair_of_folders_is_taken_as_it_is(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(("a", "b")):
            for place in range(count):
                value = 100 * label + place + 50 * (split == "test")
                write(tmp_path / split / name / "deeper" / f"{place}.jpg", grey(value))
    found = own.load_images(tmp_path)
    assert found["train_images"][:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert found["train_labels"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found["test_images"][:, 0, 0, 0].tolist() == [50, 150]
    assert found["test_labels"].tolist() == [0, 1]


def test_one_file_in_colour_makes_all_so(tmp_path):
    for name in ("a", "b"):
        for place in range(2):
            write(tmp_path / name / f"{place}.png", grey(7))
    write(tmp_path / "b" / "1.png", np.full((4, 5, 4), (1, 2, 3, 128), np.uint8))
    found = own.load_images(tmp_path)
    pixels = {
        tuple(pixel)
        for split in ("train", "test")
        for pixel in found[f"{split}_images"].reshape(-1, 3).tolist()
    }
    assert pixels == {(7, 7, 7), (1, 2, 3)}


def test_with_a_size_images_become_the_square_in_their_middle(tmp_path):
    tall = np.repeat(np.arange(0, 240, 20, dtype=np.uint8)[:, None], 6, axis=1)  # 12 high, 6 wide
    for name in ("a", "b"):
        write(tmp_path / name / "0.png", tall)
        write(tmp_path / name / "1.png", tall.T)
    found = own.load_images(tmp_path, size=6)
    both = np.concatenate([found["train_images"], found["test_images"]])
    assert both.shape == (4, 6, 6, 1)
    for image in both[..., 0]:
        middle = image if image[0, 0] == image[0, 1] else image.T
        np.testing.assert_array_equal(middle, tall[3:9])
    assert own.load_images(tmp_path, size=3)["train_images"].shape == (2, 3, 3, 1)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    exif = pillow.Exif()
    exif[0x0112] = 6  # the top of the scene is the right of the picture
    for name in ("a", "b"):
        for place in range(2):
            write(tmp_path / name / f"{place}.jpg", grey(9, (4, 6)), exif=exif)
    assert own.load_images(tmp_path)["train_images"].shape == (2, 6, 4, 1)


def broken_size(folder):
    write(folder / "cat" / "05.png", grey(0, (4, 6)))
    return r"cat/05\.png: expected 5x4 pixels as in .*cat/00\.png, or size=PIXELS.*; got 6x4"


def broken_file(folder):
    content = (folder / "dog" / "03.png").read_bytes()
    (folder / "dog" / "03.png").write_bytes(content[: len(content) // 2])
    return r"dog/03\.png: expected a PNG or JPEG image; "


def no_image(folder):
    (folder / "dog" / "03.png").write_text("<html>")
    return r"dog/03\.png: expected a PNG or JPEG image; cannot identify"


def sixteen_bits(folder):
    write(folder / "dog" / "03.png", np.zeros((4, 5), np.uint16))
    return r"dog/03\.png: expected an image of 8 bits a channel; got mode I;16"


def empty_class(folder):
    (folder / "bird").mkdir()
    return r"bird: expected \.png or \.jpg files in it, got none"


def single_image(folder):
    write(folder / "bird" / "0.png", grey(0))
    return r"bird: expected at least 2 images, one for test; got 1"


def half_a_pair(folder):
    (folder / "train").mkdir()
    return r"expected the folders test and train, or one folder a class; got cat, dog, train"


def one_class(folder):
    (folder / "cat").rename(folder / ".cat")
    return r"expected at least 2 folders, one a class; got dog"


def another_class_in_test(folder):
    for split, names in (("train", "ab"), ("test", "ac")):
        for name in names:
            write(folder / split / name / "0.png", grey(0))
    for name in ("cat", "dog"):
        (folder / name).rename(folder / f".{name}")
    return r"test: expected the classes of train \(a, b\); got a, c"


@pytest.mark.parametrize(
    "damage",
    [
        broken_size, broken_file, no_image, sixteen_bits, empty_class, single_image, half_a_pair,
        one_class, another_class_in_test,
    ],
)  # fmt: skip
def test_what_is_wrong_with_images_is_said_with_its_path(classes, damage):
    with pytest.raises(UserError, match=damage(classes)):
        own.load_images(classes)


def test_a_folder_that_is_not_there_or_a_size_that_is_none(tmp_path):
    with pytest.raises(UserError, match="gone: expected a folder with one folder a class, got not"):
        own.load_images(tmp_path / "gone")
    with pytest.raises(UserError, match="size: expected a number of pixels of at least 1, got 0"):
        own.load_images(tmp_path, size=0)


def test_a_text_file_is_split_by_its_lines(tmp_path):
    path = tmp_path / "book.txt"
    lines = [f"Line {number}, ünd" for number in range(20)]
    path.write_text("\ufeff" + "\n\n".join(lines), encoding="utf-8")
    found = own.load_text(path)
    assert found["train"][:8] == ["Line", "0,", "ünd", "<eos>", "Line", "1,", "ünd", "<eos>"]
    assert [len(found[split]) // 4 for split in ("train", "valid", "test")] == [16, 2, 2]
    assert found["valid"][1] == "16,"
    assert found["test"][1] == "18,"
    written = own.load_text(str(path), raw=True)
    assert written["test"][:5] == ["line", "18", ",", "ünd", "<eos>"]


@pytest.mark.parametrize("prefix", ["", "ptb.", "wiki."])
def test_a_folder_in_mikolovs_layout(tmp_path, prefix):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{prefix}{split}.txt").write_text(f" {split} <unk> \n N a \n")
    found = own.load_text(tmp_path)
    assert list(found) == ["train", "valid", "test"]
    assert found["valid"] == ["valid", "<unk>", "<eos>", "N", "a", "<eos>"]


def test_what_is_wrong_with_a_text_is_said_with_its_path(tmp_path):
    with pytest.raises(UserError, match="gone: expected a text file or a folder; No such file"):
        own.load_text(tmp_path / "gone")
    with pytest.raises(UserError, match=r"expected one train\.txt .*; got none"):
        own.load_text(tmp_path)
    for name in ("a.train.txt", "b.train.txt", "a.valid.txt", "a.test.txt"):
        (tmp_path / name).write_text("a\n")
    with pytest.raises(UserError, match=r"expected one train\.txt .*; got a\.train\.txt, b\.train"):
        own.load_text(tmp_path)
    short = tmp_path / "short.txt"
    short.write_text("a\n" * 9)
    with pytest.raises(UserError, match=r"short\.txt: expected at least 10 lines.*; got 9"):
        own.load_text(short)
    short.write_bytes(b"caf\xe9\n" * 10)
    with pytest.raises(UserError, match=r"short\.txt: expected text in UTF-8; .*position 3"):
        own.load_text(short)
