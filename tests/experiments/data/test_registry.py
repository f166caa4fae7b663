"""The registry: what every dataset promises, fetching all or nothing, and the command line."""

import dataclasses
import hashlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import __main__ as command_line
from experiments.data import registry

READY = [name for name, entry in data.DATASETS.items() if entry.get is None]
FETCHED = [name for name, entry in data.DATASETS.items() if entry.get is not None]


@pytest.fixture(autouse=True)
def _no_user_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NCOLAB_DATA", str(tmp_path / "default_root"))


def entry(get, **fields) -> registry.Dataset:
    return registry.Dataset(
        name="toy",
        description="a toy",
        licence="none",
        source="a test",
        load=lambda folder: {"text": (folder / "a.txt").read_text()},
        get=get,
        forms=(("a.txt",),),
        **fields,
    )


def write_a(target: Path, given: Path | None) -> None:
    (target / "a.txt").write_text("hello")


@pytest.mark.parametrize("name", data.DATASETS)
def test_every_dataset_says_what_it_is(name):
    dataset = data.DATASETS[name]
    assert dataset.name == name
    assert re.fullmatch(r"[a-z0-9_]+", name)
    for words in (dataset.description, dataset.licence, dataset.source):
        assert words
        assert "\n" not in words
        assert len(words) <= 80
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in dataset.checksums.values())
    reader = getattr(dataset.load, "func", dataset.load)
    assert "Returns:" in reader.__doc__ or "[N, " in reader.__doc__


@pytest.mark.parametrize("name", READY)
def test_defaults_need_nothing_and_are_the_same_every_time(name, tmp_path):
    assert data.present(name, root=tmp_path)
    first, second = data.load(name, root=tmp_path), data.load(name, root=tmp_path)
    assert first.keys() == second.keys()
    assert first
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert data.fetch(name, root=tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FETCHED)
def test_a_missing_dataset_names_the_command_that_gets_it(name, tmp_path):
    assert not data.present(name, root=tmp_path)
    with pytest.raises(registry.MissingDataset) as error:
        data.load(name, root=tmp_path / "my data")
    words = shlex.split(str(error.value).splitlines()[-1])
    assert words[:3] == ["python", "-m", "experiments.data"]
    options = command_line._parser().parse_args(words[3:])
    assert (options.action, options.name) == ("fetch", name)
    assert options.root == tmp_path / "my data"


def test_the_default_root_is_not_repeated_in_the_command():
    assert registry.command("brown") == "python -m experiments.data fetch brown"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(registry.UnknownDataset, match=r"expected one of tsp20, .*got 'tsp7'"):
        data.load("tsp7")


def test_an_absent_optional_package_names_its_extra(tmp_path):
    absent = entry(None, needs=("no_such_module_here", "data"))
    assert not registry.present(absent)
    with pytest.raises(ImportError, match=r'pip install "ncolab\[data\]"'):
        registry.load(absent)


def test_the_root_is_the_argument_then_the_environment_then_the_home(monkeypatch, tmp_path):
    assert registry.data_root(tmp_path) == tmp_path
    assert registry.data_root() == tmp_path / "default_root"
    monkeypatch.delenv("NCOLAB_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert registry.data_root() == tmp_path / ".cache" / "ncolab" / "data"


def test_fetch_is_idempotent_and_leaves_checkable_sums(tmp_path):
    calls = []
    dataset = entry(lambda target, given: (calls.append(1), write_a(target, given)))
    folder = registry.fetch(dataset, tmp_path)
    assert folder == tmp_path / "toy"
    assert registry.fetch(dataset, tmp_path) == folder
    assert len(calls) == 1
    assert registry.load(dataset, tmp_path) == {"text": "hello"}
    digest = hashlib.sha256(b"hello").hexdigest()
    assert (folder / "SHA256SUMS").read_text() == f"{digest}  a.txt\n"
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


@pytest.mark.parametrize("failure", ["raises", "stops early"])
def test_a_failed_fetch_leaves_nothing(failure, tmp_path):
    def get(target: Path, given: Path | None) -> None:
        (target / "half.txt").write_text("x")
        if failure == "raises":
            raise OSError("the line broke")

    with pytest.raises((OSError, RuntimeError), match=r"the line broke|did not give a\.txt"):
        registry.fetch(entry(get), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_something_else_is_left_alone(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match=r"without a\.txt: move it away"):
        registry.fetch(entry(write_a), tmp_path)
    assert (tmp_path / "toy" / "mine.txt").read_text() == "keep"


def test_two_fetches_at_once_both_succeed(tmp_path):
    def get(target: Path, given: Path | None) -> None:
        write_a(target, given)
        registry.fetch(entry(write_a), tmp_path)  # another process is faster

    assert registry.fetch(entry(get), tmp_path) == tmp_path / "toy"
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_checksums_of_files_and_of_patterns(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("1", "2"):
        (tmp_path / "b" / name).write_text(name)
    single = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("1", "2")}
    listing = "".join(f"{single[name]}  b/{name}\n" for name in ("1", "2"))
    both = hashlib.sha256(listing.encode()).hexdigest()
    registry.verify(tmp_path, {"b/1": single["1"], "b/[0-9]": both})
    (tmp_path / "b" / "2").write_text("3")
    with pytest.raises(registry.ChecksumError, match=rf"b/\[0-9\]: expected sha256 {both}; got "):
        registry.verify(tmp_path, {"b/[0-9]": both})
    with pytest.raises(FileNotFoundError, match="c"):
        registry.verify(tmp_path, {"c": both})


def test_the_bundled_file_is_the_one_registered():
    registry.verify(
        Path(command_line.__file__).parent / "bundled", data.DATASETS["cities"].checksums
    )


def test_listing_shows_what_is_present(capsys, tmp_path):
    assert command_line.main(["--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = {words[0]: words[1] for line in lines if len(words := line.split()) > 1}
    assert states["tsp20"] == "ready"
    assert states["brown"] == "fetch"
    (tmp_path / "brown").mkdir()
    for name in ("ca01", "cr09"):
        (tmp_path / "brown" / name).write_text("a/b")
    assert command_line.main(["list", "--root", str(tmp_path)]) == 0
    assert re.search(r"^brown +present", capsys.readouterr().out, re.MULTILINE)


def test_every_listed_line_fits_the_terminal():
    for width in (80, 100, 200):
        lines = command_line._listing(Path("/r"), width).splitlines()
        assert max(map(len, lines[:-2])) <= width


def test_showing_one_dataset(capsys):
    assert command_line.main(["show", "nasbench201"]) == 0
    shown = capsys.readouterr().out
    assert "int8 [15625, 6]" in shown
    assert "licence:" in shown
    assert next(iter(data.DATASETS["nasbench201"].checksums.values())) in shown


def test_fetching_from_the_command_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(data.DATASETS, "toy", entry(write_a))
    arguments = ["fetch", "toy", "--root", str(tmp_path)]
    assert command_line.main(arguments) == 0
    assert capsys.readouterr().out == f"toy: fetched into {tmp_path}/toy\n"
    assert command_line.main(arguments) == 0
    assert capsys.readouterr().out == f"toy: already in {tmp_path}/toy\n"
    assert command_line.main(["fetch", "tsp20"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out


def test_errors_are_one_message_and_status_1(capsys, tmp_path):
    assert command_line.main(["fetch", "nothing"]) == 1
    assert capsys.readouterr().err.startswith("error: dataset: expected one of")
    assert command_line.main(["fetch", "multi30k"]) == 1
    assert "python -m experiments.data fetch multi30k --from FOLDER" in capsys.readouterr().err
    assert command_line.main(["fetch", "multi30k", "--from", str(tmp_path / "no")]) == 1
    assert "--from: expected a folder" in capsys.readouterr().err


def test_help_is_help(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(["fetch", "--help"])
    assert stop.value.code == 0
    assert "--from" in capsys.readouterr().out


def test_public_test_sets_are_the_published_ones():
    # The first instance of the set that papers report on, drawn as they do.
    np.random.seed(1234)  # noqa: NPY002
    expected = np.random.uniform(size=(10_000, 20, 2))  # noqa: NPY002
    loaded = data.load("tsp20")
    np.testing.assert_array_equal(loaded["coords"], expected.astype(np.float32))
    assert loaded["coords"].shape == (10_000, 20, 2)
    first = data.load("tsp20", count=7)
    np.testing.assert_array_equal(first["coords"], loaded["coords"][:7])
    assert loaded["mean_optimum"] == pytest.approx(3.836, abs=1e-3)
    assert first["mean_optimum"] is None
    assert not np.array_equal(data.load("tsp20", count=7, seed=1)["coords"], first["coords"])


def test_knapsacks_have_the_capacity_of_their_size():
    loaded = data.load("knapsack100", count=3)
    assert loaded["weights"].shape == loaded["values"].shape == (3, 100)
    assert loaded["capacity"] == 25.0
    assert data.load("knapsack50", count=1)["capacity"] == 12.5


def test_importing_the_package_imports_no_optional_package():
    import subprocess

    code = (
        "import sys, experiments.data;"
        "print(sorted({'sklearn', 'tensorflow_datasets', 'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_dataset_is_immutable():
    with pytest.raises(AttributeError):
        data.DATASETS["tsp20"].name = "other"
    assert not dataclasses.is_dataclass(registry.Dataset)
