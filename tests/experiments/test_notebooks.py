"""The notebooks run from top to bottom, and what they claim holds."""

import json
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
