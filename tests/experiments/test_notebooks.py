"""The notebooks run from top to bottom, and what they claim holds."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "experiments" / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    content = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output(path):
    content = json.loads(path.read_text())
    assert all(not cell.get("outputs") for cell in content["cells"])


def test_every_notebook_is_run():
    assert [path.stem for path in NOTEBOOKS if f"test_{path.stem}" not in globals()] == []


def run_cells(name, usual, instead):
    """Runs a notebook from top to bottom, one line of it changed; returns its names."""
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    found = cells(path, "code")
    assert sum(usual in source for source in found) == 1
    scope: dict = {}
    for source in found:
        exec(compile(source.replace(usual, instead), str(path), "exec"), scope)
    return scope


SIZES = "ITEMS, BATCH, SAMPLES, UPDATES = 20, 16, 8, 300"


@pytest.mark.parametrize(
    "sizes",
    [
        "ITEMS, BATCH, SAMPLES, UPDATES = 12, 16, 8, 150",
        pytest.param(SIZES, marks=pytest.mark.slow),
    ],
    ids=["smaller", "as it stands"],
)
def test_nco(sizes):
    (path,) = (path for path in NOTEBOOKS if path.stem == "nco")
    definition, *rest = cells(path, "code")
    lines = [line for line in definition.splitlines() if line.strip()]
    assert len(lines) <= 40  # as its title says
    scope: dict = {}
    assert sum(SIZES in source for source in rest) == 1
    for source in (definition, *rest):
        exec(compile(source.replace(SIZES, sizes), str(path), "exec"), scope)
    assert scope["UPDATES"] == int(sizes.split()[-1])
    exact = scope["exact"]
    for name in ("rule", "greedy", "sampled"):
        value = np.asarray(getattr(scope[name], "reward", scope[name]))
        assert (value <= exact + 1e-4).all(), name
    assert scope["found"].reward <= exact[0] + 1e-4
    assert scope["greedy"].reward.mean() > scope["rule"].mean()
    assert scope["sampled"].reward.mean() > 0.97 * exact.mean()
    assert -scope["tours"].reward.mean() < 4.5


SEARCH_SIZES = 'BUDGET, SOLVER = Path(tempfile.mkdtemp()), 120, "turbo"'


@pytest.mark.parametrize(
    "sizes",
    [
        'BUDGET, SOLVER = Path(tempfile.mkdtemp()), 40, "random"',
        pytest.param(SEARCH_SIZES, marks=pytest.mark.slow),
    ],
    ids=["smaller", "as it stands"],
)
def test_search(sizes, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "house", raising=False)
    (path,) = (path for path in NOTEBOOKS if path.stem == "search")
    lines = [line for source in cells(path, "code") for line in source.splitlines()]
    assert len([line for line in lines if line.strip()]) <= 60
    scope = run_cells("search", SEARCH_SIZES, sizes)
    run, budget = scope["run"], scope["BUDGET"]
    assert scope["stopped"].stopped
    assert 0 < scope["stopped"].step < scope["resumed"].step == budget
    assert scope["value"] == run.value
    np.testing.assert_array_equal(scope["trial"].point, run.point)
    heating, wall = scope["heating"], scope["wall"]
    assert run.value == heating(run.point, 0) > heating((0.0, 0.0, 0.0), 0)
    every = [wall(layers, 0) for layers in scope["layers"].every()]
    assert scope["best_wall"].value > np.quantile(every, 0.9)
    assert len(scope["pooled"].told) == budget
    assert scope["pooled"].best[1] > np.quantile(every, 0.9)
    assert (scope["FOLDER"] / "wall" / "best.png").stat().st_size > 5_000
    shutil.rmtree(scope["FOLDER"])
