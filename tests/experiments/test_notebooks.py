"""The notebooks run from top to bottom, and what they claim holds."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "experiments" / "notebooks").glob("*.ipynb"))
# The end of the line of each notebook that says how large all is, and what makes it smaller.
SIZES = {
    "nco": ("UPDATES = 20, 16, 8, 300", "UPDATES = 8, 16, 8, 100"),
    "enas": ("EPOCHS, STRIDE = 20, 1", "EPOCHS, STRIDE = 20, 7"),
    "mpl": ("UPDATES, UNLABELLED = 32, 1000, 256", "UPDATES, UNLABELLED = 32, 300, 64"),
    "search": ('(tempfile.mkdtemp()), 120, "turbo"', '(tempfile.mkdtemp()), 40, "random"'),
}


def cells(path, kind):
    content = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output_and_is_short(path):
    content = json.loads(path.read_text())
    assert all(not cell.get("outputs") for cell in content["cells"])
    own = {"nco": 1, "enas": 2}.get(path.stem)  # cells that define a problem or space of one's own
    sources = cells(path, "code")[:own]
    lines = [line for source in sources for line in source.splitlines() if line.strip()]
    assert len(lines) <= (60 if own is None else 40)  # as the title of the first says


@pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["smaller", "as it stands"]
)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_keeps_its_word(path, whole, monkeypatch):
    if path.stem in ("enas", "search"):
        pytest.importorskip("sklearn")
    if path.stem == "search":
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.delitem(sys.modules, "house", raising=False)
    pytest.importorskip("matplotlib").use("Agg")
    (usual, smaller), scope = SIZES[path.stem], {}
    sources = cells(path, "code")
    assert sum(usual in source for source in sources) == 1
    for source in sources:
        text = source if whole else source.replace(usual, smaller)
        exec(compile(text, str(path), "exec"), scope)
    CLAIMS[path.stem](scope)


def nco(scope):
    exact = scope["exact"]
    for name in ("rule", "greedy", "sampled"):
        value = np.asarray(getattr(scope[name], "reward", scope[name]))
        assert (value <= exact + 1e-4).all(), name
    assert scope["found"].reward <= exact[0] + 1e-4
    assert scope["greedy"].reward.mean() > scope["rule"].mean()
    assert scope["sampled"].reward.mean() > 0.97 * exact.mean()
    assert -scope["tours"].reward.mean() < 4.5


def enas(scope):
    space, best, child = scope["space"], scope["best"], scope["child"]
    assert len(scope["every"]) == 224
    assert scope["decisions"].check_choices(space, best).tolist() == best.tolist()
    assert scope["curve"][-1][0] > scope["curve"][0][0] + 0.2  # reward
    assert scope["curve"][-1][1] < 0.5 * scope["curve"][0][1]  # entropy
    assert scope["picture"].stat().st_size > 3_000
    others = np.asarray(scope["others"])
    assert scope["derived"] > others.mean() + 0.03
    assert np.mean(others > scope["derived"]) < 0.3
    weights, _ = child.init(scope["jax"].random.key(0))
    grads = scope["jax"].grad(
        lambda weights: child.loss(weights, (), best, scope["parts"]["valid"], None)[0]
    )
    moved = np.abs(np.asarray(grads(weights)["rows"])).sum((1, 2)) > 0
    assert sorted(best[:3]) == np.flatnonzero(moved).tolist()


def mpl(scope):
    alone, student = (
        scope["accuracy"](scope[net], scope[state])
        for net, state in (("linen", "alone"), ("other", "state"))
    )
    assert student > alone + 0.1
    assert scope["h"].shape == (scope["UPDATES"] // 50,)
    assert scope["h"].mean() > 0.0


def search(scope):
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


CLAIMS = {"enas": enas, "nco": nco, "mpl": mpl, "search": search}
