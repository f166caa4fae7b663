"""An architecture shown in words."""

import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from enas import decisions
from enas.decisions import Decision
from enas.spaces import rnn
from enas.supernet import Graph, Supernet
from experiments import architecture as command
from experiments.enas import architecture, problem
from experiments.runner import config as configs
from experiments.runner.workdir import write_config


def supernet(space, *, pieces=2):
    """Each child keeps as many rows of the weights as its first choice says, from 1."""

    def graphs(choices):
        nodes = {"in": "in", "1": "conv3", "2": space[1].labels[choices[1]]}
        edges = (("in", "1", ""), ("1", "2", "sep5"), ("in", "2", ""))
        return {"cell": Graph(nodes, edges)}

    return Supernet(
        space,
        init=lambda key: {"head": {"b": jnp.zeros(())}, "1": {"w": jnp.zeros((pieces, 1000))}},
        apply=lambda *given, **rest: None,
        restrict=lambda weights, choices: {
            **weights,
            "1": {"w": weights["1"]["w"][: choices[0] + 1]},
        },
        graphs=graphs,
    )


SPACE = (Decision("1", ("one", "two")), Decision("2", ("conv3", "max3")))


def test_an_architecture_in_words():
    shown = architecture.show(supernet(SPACE), np.array([1, 1]))
    assert shown.splitlines() == [
        "1: two | 2: max3",
        "",
        "cell",
        "  in",
        "  1: conv3  from in",
        "  2: max3   from 1 (sep5), in",
        "",
        "architectures in the space: 4",
        "parameters of this one: 2,001",
    ]
    assert architecture.parameters(supernet(SPACE), np.array([0, 1])) == 1001


@pytest.mark.parametrize(
    ("decision", "places", "said"),
    [
        (Decision("1", ("one", "two")), 29, "536,870,912"),
        (Decision("1", tuple("abcdef")), 40, "1.34e+31"),
        (Decision("1", tuple("abcdef")), 500, "1.19e+389"),
        (Decision("1", ("one", "two"), lambda choices: jnp.ones(2, bool)), 3, "8"),
    ],
)
def test_the_number_of_architectures(decision, places, said):
    assert architecture._count([decision] * places) == said


def test_a_space_that_is_too_large_to_be_counted(monkeypatch):
    monkeypatch.setattr(architecture, "MOST", 3)
    space = [Decision("1", ("one", "two"), lambda choices: jnp.ones(2, bool))] * 2
    assert architecture._count(space) == "more than 3"


def test_a_recurrent_cell_of_the_thesis_and_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    space = rnn.supernet(vocabulary=100, nodes=4, hidden=10)
    line = "1: tanh | 2: 1 relu | 3: 2 relu | 4: 1 tanh"  # figure 4.2
    path = tmp_path / "cell.png"
    shown = architecture.show(space, decisions.parse(space.decisions, line), path)
    assert shown.startswith(line)
    assert "average  from 3, 4" in shown
    assert "architectures in the space: 1,536" in shown  # 4^4 3!
    # Two matrices (h and c) at each of 4 nodes and of the input, words with their biases.
    weights = 5 * 2 * 10 * 10 + 100 * 10 + 100
    found = int(shown.rpartition(" ")[2].replace(",", ""))
    assert weights <= found <= weights + 2 * 10  # batch normalization in a search
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_is_no_surprise_later(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install"):
        architecture.show(supernet(SPACE), np.array([1, 1]), tmp_path / "cell.png")


def test_choices_of_another_space():
    with pytest.raises(ValueError, match=r"choices\[1\]"):
        architecture.show(supernet(SPACE), np.array([1, 2]))


LINE = "1: tanh | 2: 1 relu | 3: 2 relu"


@pytest.fixture
def small(monkeypatch):
    """Configs make the supernet of a small cell, without data."""
    space = rnn.supernet(vocabulary=10, nodes=3, hidden=4)
    task = SimpleNamespace(supernet=space)
    monkeypatch.setattr(problem, "of", lambda config: SimpleNamespace(task=task))


def run_folder(folder, *, line=LINE):
    folder.mkdir(parents=True)
    write_config(folder, configs.load("enas/rnn:pydoc,smoke"))
    if line:
        (folder / "architecture.txt").write_text(line + "\n")
    return str(folder)


def test_the_command_takes_a_line_and_a_config(small, tmp_path, capsys):
    path = tmp_path / "cell.svg"
    words = [LINE, "--config=enas/rnn:pydoc,smoke", "--config.space.hidden=4", f"--draw={path}"]
    assert command.main(words) == 0
    assert capsys.readouterr().out.startswith(LINE + "\n\ncell\n")
    assert "<svg" in path.read_text()


def test_the_command_takes_the_folder_of_a_run_or_of_one_of_its_seeds(small, tmp_path, capsys):
    assert command.main([run_folder(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith(LINE + "\n")
    several = run_folder(tmp_path / "several", line=None)
    (tmp_path / "several" / "seed_3").mkdir()
    (tmp_path / "several" / "seed_3" / "architecture.txt").write_text(LINE)
    assert command.main([several]) == 2
    assert "architecture.txt; it has seed_3" in capsys.readouterr().err
    assert command.main([f"{several}/seed_3"]) == 0


def wrong(*words):
    return [*words, "--config=enas/rnn:pydoc,smoke"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([LINE], "expected a run's folder, or a line and --config; got '1: tanh"),
        (wrong("1: tanh | 2: 1 relu"), "architecture: expected 3 nodes"),
        (wrong("tanh " * 100), "architecture: expected 3 nodes"),
        (wrong("1: tanh | 2: 1 step | 3: 2 relu"), "node 2: expected one of"),
        (wrong("FOLDER"), "--config goes with a line"),
        ([LINE, "--config=nco/tsp:20,smoke"], "space.name: expected a key of this config"),
        (wrong(LINE, "--draw=cell.doc"), "--draw: expected a name that ends in one of .png"),
        (wrong(LINE, "--draw=gone/cell.png"), "in a folder that exists, got gone/cell.png"),
        (["UNFINISHED"], "expected a run that has ended, with architecture.txt"),
        (["TMP"], "expected a run that has ended, with architecture.txt"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(small, tmp_path, capsys, words, said):
    places = {"FOLDER": tmp_path / "run", "UNFINISHED": tmp_path / "early", "TMP": tmp_path}
    run_folder(places["FOLDER"])
    run_folder(places["UNFINISHED"], line=None)
    try:
        status = command.main([str(places.get(word, word)) for word in words])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert said in capsys.readouterr().err


def test_the_command_makes_the_space_of_its_config(capsys):
    words = [f"{LINE} | 4: 2 relu", "--config=enas/rnn:pydoc,smoke", "--config.space.nodes=4"]
    assert command.main(words) == 0
    assert "architectures in the space: 1,536" in capsys.readouterr().out  # 4^4 3!
