"""The command line that solves a user's own instances: results, outputs, and refusals."""

import json
import subprocess
import sys

import numpy as np
import pytest

from experiments import solve
from experiments.nco import decoding
from experiments.nco.solved import Solved, table
from experiments.report import table as results_table
from experiments.runner.command import BAD_USAGE, FAILED, INTERRUPTED
from nco.many import Found

SQUARE = "x,y\n0,0\n10,10\n10,0\n0,10\n"
MATRIX = (
    "NAME: m\nTYPE: TSP\nDIMENSION: 4\nEDGE_WEIGHT_TYPE: EXPLICIT\n"
    "EDGE_WEIGHT_FORMAT: UPPER_ROW\nEDGE_WEIGHT_SECTION\n1 5 1\n1 5\n1\nEOF\n"
)
ASYMMETRIC = (
    "NAME: a\nTYPE: ATSP\nDIMENSION: 4\nEDGE_WEIGHT_TYPE: EXPLICIT\n"
    "EDGE_WEIGHT_FORMAT: FULL_MATRIX\nEDGE_WEIGHT_SECTION\n"
    "9 1 5 5\n5 9 1 5\n5 5 9 1\n1 5 5 9\nEOF\n"
)


@pytest.fixture
def square(tmp_path):
    path = tmp_path / "square.csv"
    path.write_text(SQUARE)
    return path


def run(*arguments):
    """Exit code of the command line."""
    try:
        return solve.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code


def refused(capsys, *arguments):
    assert run(*arguments) == BAD_USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


def test_tours_are_printed_where_they_are_not_written(tmp_path, capsys):
    path = tmp_path / "named.csv"
    path.write_text("name,lat,lon\nA,0,0\nB,1,1\nC,1,0\nD,0,1\n")
    assert run("--method", "exact", path) == 0
    assert "tour of named: A, C, B, D\n" in capsys.readouterr().out
    many = tmp_path / "many.npy"
    np.save(many, np.tile([[0.0, 0], [1, 1], [1, 0], [0, 1]], (30, 1, 1)))
    assert run("--method", "exact", "--quiet", "--processes", "1", many) == 0
    tours = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tour of")]
    assert len(tours) == 20
    assert all(line.endswith(": 0 2 1 3") for line in tours)


@pytest.mark.parametrize("method", ["near_optimal", "or_tools", "christofides", "exact"])
def test_a_solver_solves_a_file(square, tmp_path, capsys, method):
    out = tmp_path / "out.json"
    assert run("--method", method, "--json", out, square) == 0
    written = json.loads(out.read_text())
    assert written["tours"] == [[0, 2, 1, 3]]
    assert written["lengths"] == [40.0]
    assert written["mean_length"] == 40.0
    assert (written["method"], written["cities"], written["instances"]) == (method, 4, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["instance", "cities", "length", "seconds"]
    assert lines[1].split()[:3] == ["square", "4", "40"]


def test_many_instances_of_an_array(tmp_path, capsys):
    points = np.random.default_rng(0).uniform(size=(25, 7, 2))
    np.save(tmp_path / "set.npy", points)
    out = tmp_path / "out.json"
    arguments = ("--processes", 1, "--json", out, tmp_path / "set.npy")
    assert run("--method", "nearest_neighbour", "--compare", *arguments) == 0
    written = json.loads(out.read_text())
    assert len(written["lengths"]) == 25
    for coords, tour, length in zip(points, written["tours"], written["lengths"], strict=True):
        ordered = coords[tour]
        steps = np.linalg.norm(ordered - np.roll(ordered, 1, axis=0), axis=1)
        assert length == pytest.approx(steps.sum(), abs=1e-12)
    near = written["near_optimal"]
    assert near["mean_length"] < written["mean_length"] == np.mean(written["lengths"])
    gaps = np.array(written["lengths"]) / np.array(near["lengths"]) - 1
    assert near["mean_gap"] == pytest.approx(gaps.mean())
    said = capsys.readouterr().out
    assert "(5 more)" in said
    assert f"{gaps.mean():+.2%}" in said.splitlines()[-2]
    assert run("--method", "nearest_neighbour", "--first", 3, *arguments) == 0
    assert json.loads(out.read_text())["lengths"] == written["lengths"][:3]


def test_explicit_weights_are_scored_by_solvers_and_refused_by_the_network(tmp_path, capsys):
    path = tmp_path / "m.tsp"
    path.write_text(MATRIX)
    assert run("--method", "near_optimal", "--json", tmp_path / "m.json", path) == 0
    assert json.loads((tmp_path / "m.json").read_text())["lengths"] == [4.0]
    capsys.readouterr()
    said = refused(capsys, "--model", "random", path)
    assert "m.tsp: the instance gives a matrix of weights and no coordinates" in said
    assert "--method near_optimal" in said


def test_asymmetric_weights(tmp_path, capsys):
    path = tmp_path / "a.atsp"
    path.write_text(ASYMMETRIC)
    assert run("--method", "exact", "--json", tmp_path / "a.json", path) == 0
    assert json.loads((tmp_path / "a.json").read_text())["lengths"] == [4.0]
    capsys.readouterr()
    assert "needs symmetric weights" in refused(capsys, "--method", "or_tools", path)
    assert "needs symmetric weights" in refused(capsys, "--method", "exact", "--compare", path)


def test_rounded_and_unrounded_lengths_stand_side_by_side(tmp_path, capsys):
    path = tmp_path / "r.tsp"
    head = "NAME: r\nTYPE: TSP\nDIMENSION: 3\nEDGE_WEIGHT_TYPE: EUC_2D\n"
    path.write_text(head + "NODE_COORD_SECTION\n1 0 0\n2 1 1\n3 0 2\nEOF\n")
    assert run("--method", "exact", path) == 0
    head, line, tour = capsys.readouterr().out.splitlines()
    assert tour.startswith("tour of r: 0 ")
    assert head.split() == ["instance", "cities", "length", "Euclidean", "seconds"]
    assert line.split()[:4] == ["r", "3", "4", "4.82843"]  # 1 + 1 + 2, and 2 sqrt(2) + 2


def test_a_picture_of_real_cities(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("name,lat,lon\nParis,48.86,2.35\nBerlin,52.52,13.4\nRome,41.9,12.5\nX,45,5\n")
    picture = tmp_path / "c.svg"
    assert run("--method", "christofides", "--compare", "--picture", picture, path) == 0
    drawn = picture.read_text()
    assert "Berlin" in drawn
    assert sorted(file.name for file in tmp_path.iterdir()) == ["c.csv", "c.svg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: FILE"),
        (("none.csv", "--model", "random"), "none.csv: no such file"),
        (("FILE",), "--model is missing; --method greedy needs a network"),
        (("FILE", "--model", "random", "--method", "exact"), "uses no network"),
        (("FILE", "--model", "random", "--method", "magic"), "invalid choice: 'magic'"),
        (("FILE", "--model", "random", "--samples", "10"), "--samples belongs to --method sample"),
        (("FILE", "--model", "random", "--method", "sample", "--steps", "1"), "--steps belongs to"),
        (("FILE", "--model", "random", "--method", "sample", "--samples", "0"), "at least 1"),
        (("FILE", "--model", "random", "--method", "sample", "--samples", "1e3"), "whole number"),
        (("FILE", "--model", "r", "--method", "sample", "--temperature", "-1"), "above 0"),
        (("FILE", "--model", "r", "--method", "active", "--learning_rate", "nan"), "above 0"),
        (("FILE", "--model", "r", "--seed", "-1"), "from 0"),
        (("FILE", "--method", "exact", "--json", "nowhere/out.json"), "there is no folder"),
        (("FILE", "--method", "exact", "--json", "FOLDER"), "is a folder"),
        (
            ("FILE", "--method", "exact", "--picture", "out.gif"),
            "expected a file that ends in .png",
        ),
        (("FILE", "--method", "exact", "--json", f"{'a' * 300}.json"), "File name too long"),
        (("FILE", "--method", "exact", "--colour"), "unrecognized arguments: --colour"),
    ],
)
def test_bad_usage_is_explained(square, tmp_path, capsys, arguments, message):
    given = {"FILE": str(square), "FOLDER": str(tmp_path)}
    said = refused(capsys, *(given.get(argument, argument) for argument in arguments))
    assert message in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["square.csv"]


def test_a_broken_file_is_named_with_its_line(tmp_path, capsys):
    path = tmp_path / "b.csv"
    path.write_text("x,y\n1,2\n3,four\n")
    said = refused(capsys, "--method", "exact", path)
    assert said == f"error: {path}:3: column 2: expected a number, got 'four'\n"


def test_a_matrix_without_a_picture(tmp_path, capsys):
    path = tmp_path / "m.tsp"
    path.write_text(MATRIX)
    arguments = ("--method", "exact", "--picture", tmp_path / "m.png", path)
    assert "no coordinates to draw" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("module", "package", "arguments"),
    [
        ("fast_tsp", "fast-tsp", ("--method", "exact", "--compare")),
        ("ortools", "ortools", ("--method", "exact")),
        ("matplotlib", '"ncolab[demo]"', ("--method", "exact", "--picture", "a.png")),
    ],
)
def test_a_missing_library_is_found_before_the_work(
    square, monkeypatch, capsys, module, package, arguments
):
    monkeypatch.setitem(sys.modules, module, None)
    assert f"pip install {package}" in refused(capsys, *arguments, square)


def test_a_failure_leaves_older_outputs_alone(square, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    out.write_text("older")

    def fail(*_, **__):
        raise TimeoutError("no proof")

    monkeypatch.setattr(solve, "solve", fail)
    assert run("--method", "exact", "--json", out, square) == FAILED
    assert capsys.readouterr().err == "stopped: no proof\n"
    assert out.read_text() == "older"


def test_no_other_file_is_touched_and_the_home_folder_is_known(square, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("out.tmp", ".out.json.tmp"):
        (tmp_path / name).write_text("a neighbour")
    before = {path.name for path in tmp_path.iterdir()}
    assert run("--method", "exact", "--json=~/out.json", f"~/{square.name}") == 0
    assert {path.name for path in tmp_path.iterdir()} == before | {"out.json"}
    assert json.loads((tmp_path / "out.json").read_text())["file"] == str(square)
    assert (tmp_path / "out.tmp").read_text() == "a neighbour"


def test_an_output_that_cannot_be_written_is_refused_before_the_work(square, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    def unreached(*_, **__):
        raise AssertionError

    out = square.with_name("out.json")
    monkeypatch.setattr(solve, "replace_text", full)
    assert run("--method", "exact", "--json", out, square) == FAILED
    assert "stopped: [Errno 28] No space left" in capsys.readouterr().err
    monkeypatch.setattr(solve.tempfile, "TemporaryFile", full)
    monkeypatch.setattr(solve, "solve", unreached)
    said = refused(capsys, "--method", "exact", "--json", out, square)
    assert said == f"error: --json {out}: cannot be written: No space left on device\n"


def test_an_interrupt_leaves_older_outputs_alone(square, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    out.write_text("older")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(solve, "solve", interrupt)
    assert run("--method", "exact", "--json", out, square) == INTERRUPTED
    assert out.read_text() == "older"


class TestNetwork:
    """The options that reach the search; the search itself is in test_decoding."""

    @pytest.fixture
    def calls(self, monkeypatch):
        made = []

        def search(name):
            def pretended(model, points, progress=None, **options):
                made.append((name, model, points, options))
                count, cities, _ = points.shape
                tours = np.tile(np.arange(cities, dtype=np.int32), (count, 1))
                return Found(tours, np.ones(count), 2.5)

            return pretended

        for name in ("greedy", "best_of_samples", "active_search"):
            monkeypatch.setattr(decoding, name, search(name))

        def compared(found, *_, reward):
            made.append(("at_least_greedy",))
            return found

        monkeypatch.setattr(decoding, "at_least_greedy", compared)
        monkeypatch.setattr(decoding, "load", "{} with seed {}".format)
        return made

    def test_greedy(self, square, tmp_path, calls, capsys):
        out = tmp_path / "out.json"
        assert run("--model", "nco/tsp20", "--json", out, square) == 0
        ((name, model, points, options),) = calls
        assert (name, model, options) == ("greedy", "nco/tsp20 with seed 0", {})
        assert points.tolist() == [[[0, 0], [1, 1], [1, 0], [0, 1]]]
        assert points.dtype == np.float32
        written = json.loads(out.read_text())
        # 0-1-2-3: two diagonals and two sides, in the file's unit
        assert written["lengths"] == [pytest.approx(20 * (1 + np.sqrt(2)))]
        assert (written["model"], written["compile_seconds"]) == ("nco/tsp20", 2.5)
        assert "2.5 s to compile" in capsys.readouterr().out

    def test_sample(self, square, tmp_path, calls):
        out = tmp_path / "out.json"
        options = ("--samples", 70, "--temperature", 1.5, "--seed", 3, "--json", out)
        assert run("--model", "random", "--method", "sample", *options, square) == 0
        assert [call[0] for call in calls] == ["best_of_samples", "at_least_greedy"]
        assert calls[0][3] == {"num_samples": 70, "temperature": 1.5, "seed": 3}
        written = json.loads(out.read_text())
        assert (written["samples"], written["temperature"], written["seed"]) == (70, 1.5, 3)

    @pytest.mark.parametrize(("model", "rate"), [("random", 1e-3), ("nco/tsp20", 1e-5)])
    def test_active(self, square, calls, model, rate):
        assert run("--model", model, "--method", "active", "--steps", 7, square) == 0
        assert [call[0] for call in calls] == ["active_search", "at_least_greedy"]
        assert calls[0][3] == {"steps": 7, "batch": 128, "learning_rate": rate, "seed": 0}

    def test_what_is_not_said_is_what_is_known_of_the_model(self, square, tmp_path, calls):
        def options(model, method, *words, file=square):
            assert run("--model", model, "--method", method, *words, file) == 0
            return [call[3] for call in calls if call[0] != "at_least_greedy"][-1]

        recorded = results_table.read_table(results_table.table_path("nco/temperature")).rows
        star = {row["config"]: row["value"] for row in recorded if row["metric"] == "temperature"}
        for model in ("nco/tsp20", "nco/tsp50", "nco/tsp100"):
            assert options(model, "sample")["temperature"] == star[f"model {model}"]
        assert options("random", "sample")["temperature"] == 1.0
        assert options("nco/tsp20", "sample", "--temperature", 1.2)["temperature"] == 1.2
        assert options("nco/tsp50", "active")["learning_rate"] == 1e-5
        assert options("nco/tsp100", "active")["learning_rate"] == 1e-6
        many = tmp_path / "many.npy"
        np.save(many, np.random.default_rng(0).uniform(size=(1, 30, 2)))
        assert options("nco/tsp20", "sample", file=many)["temperature"] == 1.0  # T* is 2.5
        assert options("nco/tsp50", "sample", file=many)["temperature"] == star["model nco/tsp50"]

    def test_active_with_a_learning_rate(self, square, calls):
        options = ("--learning_rate", "2e-4", "--batch", 16)
        assert run("--model", "random", "--method", "active", *options, square) == 0
        expected = {"steps": 200, "batch": 16, "learning_rate": 2e-4, "seed": 0}
        assert calls[0][3] == expected

    @pytest.mark.parametrize("error", [ValueError, FileNotFoundError, KeyError])
    def test_a_model_that_cannot_be_loaded(self, square, calls, monkeypatch, capsys, error):
        def fail(name, seed):
            raise error("no such model; there are nco/tsp20, nco/tsp50")

        monkeypatch.setattr(decoding, "load", fail)
        said = refused(capsys, "--model", "nco/tsp21", square)
        assert said.startswith("error: --model nco/tsp21: ")
        assert "there are nco/tsp20" in said


def test_gaps_of_instances_without_length(tmp_path, capsys):
    np.save(tmp_path / "zero.npy", np.zeros((2, 4, 2)))
    arguments = ("--method", "christofides", "--compare", "--processes", 1)
    assert run(*arguments, tmp_path / "zero.npy") == 0
    assert "+0.00%" in capsys.readouterr().out.splitlines()[-3]  # of the mean; then two tours


def test_table_of_one_city(tmp_path):
    from experiments.data import instances

    np.save(tmp_path / "one.npy", np.zeros((1, 1, 2)))
    found = Solved(np.zeros((1, 1), np.int32), np.zeros(1), np.full(1, 0.25))
    text = table(instances.read(tmp_path / "one.npy"), found, None)
    assert text.splitlines()[1].split() == ["one", "1", "0", "0.25"]


def test_as_a_command(square):
    command = [sys.executable, "-m", "experiments.solve"]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60)
    assert helped.returncode == 0
    assert "--model nco/tsp20 cities.csv" in helped.stdout
    solved = subprocess.run(
        [*command, "--method", "exact", str(square)], capture_output=True, text=True, timeout=60
    )
    assert solved.returncode == 0, solved.stderr
    assert solved.stderr == ""
    assert "square" in solved.stdout


def test_the_instances_are_never_overwritten(tmp_path, capsys):
    path = tmp_path / "cities.csv"
    path.write_text("x,y\n0,0\n1,0\n0,1\n")
    for words, said in (
        (["--json", str(path)], "this is the file of the instances"),
        (["--json", str(tmp_path / "out.csv")], "expected a file that ends in .json"),
    ):
        assert solve.main(["--method", "exact", *words, str(path)]) == 2
        assert said in capsys.readouterr().err
    assert path.read_text().startswith("x,y")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cities.csv"]


def test_it_says_where_a_network_is_out_of_its_depth(tmp_path, capsys):
    """More than twice the cities of its training."""
    points = np.random.default_rng(1).uniform(size=(1, 50, 2))
    np.save(tmp_path / "far.npy", points)
    words = ("--model", "nco/tsp20", "--method", "active", "--steps", 1, "--batch", 2)
    assert run(*words, tmp_path / "far.npy") == 0
    said = capsys.readouterr().err
    assert "trained on 20 cities" in said
    np.save(tmp_path / "near.npy", points[:, :20])
    assert run("--model", "nco/tsp20", tmp_path / "near.npy") == 0
    assert "note" not in capsys.readouterr().err
