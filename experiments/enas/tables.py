"""The controls of Pham 2021, section 4.3.3, on small tasks, as runs.

    python -m experiments.report --fill enas/control --jobs 2
    python -m experiments.report --fill enas/ranking --list

`control`, test error in percent or perplexity, of four ways to an architecture, each trained from
scratch afterwards:

    controller   derived by the trained controller
    untrained    the best of as many first samples of a controller that was never trained, by
                 weights that were shared among such samples
    random       guided random search of equal cost: some architectures drawn by their priors, each
                 trained from scratch, and the best on the validation data
    one_random   the first of these (the thesis's random cells and networks)

`ranking`, of the tiny space, all of whose 72 architectures were trained from scratch: Kendall's tau
between their errors and those with shared weights. There the rows of `control` look these errors
up; in the other spaces each architecture has runs of its own. `local`: what changes of a derived
architecture do to it (section 4.3). `ablations`: more children a step on the weights (M), and the
best of the derived samples by training all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from experiments.enas.every import errors
from experiments.enas.search import ARCHITECTURE, DERIVED, EVERY
from experiments.report.interval import mean_interval
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Folder, Table, Workdirs
from experiments.runner import config as configs
from experiments.runner.workdir import RESULTS, read_results

SPACES = {"rnn": "brown", "macro": "fashion_mnist", "micro": "fashion_mnist"}
SEEDS, TINY_SEEDS = 3, 10
ARMS = ("controller", "untrained", "random", "one_random")
_43 = "Pham 2021, section 4.3.3"
_41, _42 = "Pham 2021, table 4.1: Penn Treebank", "Pham 2021, table 4.2: CIFAR-10"
PRINTED: Mapping[tuple[str, str], tuple[float, str]] = MappingProxyType(
    {
        ("rnn", "controller"): (56.3, _41),
        ("rnn", "one_random"): (81.2, f"{_43}: Penn Treebank"),
        ("macro", "controller"): (4.23, _42),
        ("macro", "one_random"): (5.86, f"{_43}: CIFAR-10"),
        ("micro", "controller"): (3.54, _42),
        ("micro", "one_random"): (6.77, f"{_43}: CIFAR-10"),
    }
)
EVERY_CELL = "tiny-every-"
_UNTRAINED = {"controller.train": False}


def _steps(space: str, data: str) -> int:
    """Updates of a search without its controller's."""
    config = configs.load(f"enas/{space}:{data},cpu")
    period = config.phases.weights + config.phases.controller
    return config.steps // period * config.phases.weights


def draws(space: str, data: str) -> int:
    """Trainings from scratch that cost what a search and the training of its result do.

    A sample of the controller costs a forward pass, a third of an update on as many rows.
    """
    config = configs.load(f"enas/{space}:{data},cpu")
    alone = configs.load(f"enas/{space}_fixed:{data},cpu")
    given, phases = config.controller, config.phases
    forward = given.samples * given.batch_size / config.batch_size / 3
    epochs = config.steps / (phases.weights + phases.controller)
    cost = epochs * (phases.weights + phases.controller * forward)
    return 1 + round(cost / alone.steps)


def _control_cells() -> dict[str, Cell]:
    cells: dict[str, Cell] = _tiny_cells()
    for space, data in SPACES.items():
        searched, alone = f"enas/{space}:{data},cpu", f"enas/{space}_fixed:{data},cpu"
        untrained = _UNTRAINED | {"steps": _steps(space, data)}
        for seed in range(SEEDS):
            own = {"seed": seed}
            cells[f"{space}-search-{seed}"] = Cell(searched, own)
            cells[f"{space}-untrained_search-{seed}"] = Cell(searched, own | untrained)
        for seed in range(SEEDS):
            own = {"seed": seed}
            for arm, source in (("controller", "search"), ("untrained", "untrained_search")):
                taken = {"architecture": Folder(f"{space}-{source}-{seed}")}
                cells[f"{space}-{arm}-{seed}"] = Cell(alone, taken | own)
            for number in range(draws(space, data)):
                drawn = {"seed": seed + 100 * (number + 1)}
                cells[f"{space}-random-{seed}_{number}"] = Cell(alone, drawn)
        for arm in ARMS:  # rows of all seeds stand with the first
            first, others = _names(space, arm)[0], _names(space, arm)[1:]
            cells[first] = cells[first]._replace(needs=(*cells[first].needs, *others))
    return cells


def _names(space: str, arm: str) -> list[str]:
    """The cells of an arm, over seeds."""
    if arm in ("controller", "untrained"):
        return [f"{space}-{arm}-{seed}" for seed in range(SEEDS)]
    numbers = range(draws(space, SPACES[space]))
    return [f"{space}-random-{seed}_{number}" for seed in range(SEEDS) for number in numbers]


def _tiny_cells() -> dict[str, Cell]:
    tiny, many = "enas/tiny:fashion_mnist,cpu", {"num_seeds": TINY_SEEDS}
    every = {
        f"tiny-every-{seed}": Cell("enas/tiny_every:fashion_mnist,cpu", {"seed": seed})
        for seed in range(2)
    }
    untrained = many | _UNTRAINED | {"steps": _steps("tiny", "fashion_mnist")}
    every["tiny-every-0"] = every["tiny-every-0"]._replace(needs=("tiny-every-1",))
    return every | {
        "tiny-controller": Cell(tiny, many, needs=tuple(every)),
        "tiny-untrained": Cell(tiny, untrained, needs=tuple(every)),
    }


def _control(name: str, workdirs: Workdirs) -> list[Row]:
    """The rows of the arms whose first cell this is."""
    space = name.partition("-")[0]
    if space == "tiny":
        return _tiny_control(name, workdirs)
    rows = []
    for arm in ARMS:
        names = _names(space, arm)
        if names[0] == name and all(each in workdirs for each in names):
            rows += _arm(space, arm, [workdirs[each] for each in names])
    return rows


def _arm(space: str, arm: str, folders: list[Path]) -> list[Row]:
    found = [
        {row["metric"]: row["value"] for row in read_results(folder / RESULTS)["rows"]}
        for folder in folders
    ]
    (metric,) = [key for key in found[0] if key.startswith("test_")]
    if arm in ("random", "one_random"):
        number = len(found) // SEEDS
        each = [found[i : i + number] for i in range(0, len(found), number)]
        valid = metric.replace("test_", "valid_")
        best = min if arm == "random" else (lambda some, key: some[0])
        found = [best(some, key=lambda one: one[valid]) for some in each]
    return [_row(space, arm, metric, [one[metric] for one in found])]


def _row(space: str, arm: str, metric: str, values: Any) -> Row:
    reference, source = PRINTED.get((space, arm), (None, ""))
    known = {"reference": reference, "source": source, "unit": "seed"}
    return {"name": f"{space}-{arm}", "metric": metric, **known, **mean_interval(values)._asdict()}


def _seeds(folder: Path) -> list[Path]:
    return sorted(folder.glob("seed_*"), key=lambda path: int(path.name.partition("_")[2]))


def _every(workdirs: Workdirs, part: str) -> dict[str, float]:
    """Mean errors of all architectures over all their trainings."""
    found: dict[str, list[float]] = {}
    for name, folder in workdirs.items():
        if name.startswith(EVERY_CELL):
            for line, values in errors(folder, part).items():
                found.setdefault(line, []).extend(values)
    return {line: float(np.mean(values)) for line, values in found.items()}


def _tiny_control(name: str, workdirs: Workdirs) -> list[Row]:
    """Errors of derived architectures, looked up among those of all that were trained alone."""
    if name == "tiny-every-0":
        return _tiny_random(workdirs)
    if not name.startswith(("tiny-controller", "tiny-untrained")) or not _every(workdirs, "test"):
        return []
    test = _every(workdirs, "test")
    lines = [(seed / ARCHITECTURE).read_text().strip() for seed in _seeds(workdirs[name])]
    arm = name.partition("-")[2]
    return [_row("tiny", arm, "test_error_percent", [test[line] for line in lines])]


def _tiny_random(workdirs: Workdirs) -> list[Row]:
    """Random search on the recorded errors: the expectation over draws of architectures.

    One training of each is looked at for the choice, and the mean of the others is its test error.
    """
    test, metric = _every(workdirs, "test"), "test_error_percent"
    lines = sorted(test)
    by_valid = [
        errors(workdirs[name], "valid") for name in sorted(workdirs) if name.startswith(EVERY_CELL)
    ]
    valid = {line: np.concatenate([found[line] for found in by_valid]) for line in lines}
    rng, picked = np.random.default_rng(0), []
    number = draws("tiny", "fashion_mnist")
    for _ in range(TINY_SEEDS):
        drawn = rng.choice(lines, number, replace=False)
        training = {line: rng.choice(valid[line]) for line in drawn}
        picked.append((test[min(training, key=training.__getitem__)], test[drawn[0]]))
    best, first = zip(*picked, strict=True)
    every = {"unit": "instance", "metric": metric}
    lowest = {"value": min(test.values()), "low": min(test.values()), "high": min(test.values())}
    return [
        _row("tiny", "random", metric, best),
        _row("tiny", "one_random", metric, first),
        {"name": "tiny-best", **every, **lowest, "n": len(test)},
        {"name": "tiny-mean", **every, **mean_interval(list(test.values()))._asdict()},
    ]


def _ranking(name: str, workdirs: Workdirs) -> list[Row]:
    """Kendall's tau of each seed's shared weights, and of one training with another."""
    from scipy.stats import kendalltau

    alone = _every(workdirs, "test")
    lines = sorted(alone)
    if name == "tiny-every-0" and "tiny-every-1" in workdirs:
        pair = ("tiny-every-0", "tiny-every-1")
        one, other = (_every({each: workdirs[each]}, "test") for each in pair)
        tau = kendalltau([one[line] for line in lines], [other[line] for line in lines]).statistic
        return [_tau("trainings", [tau])]
    if name not in ("tiny-controller", "tiny-untrained") or not lines:
        return []
    taus = []
    for seed in _seeds(workdirs[name]):
        shared = json.loads((seed / EVERY).read_text())
        taus.append(
            kendalltau([shared[line] for line in lines], [alone[line] for line in lines]).statistic
        )
    return [_tau(name.partition("-")[2], taus)]


def _tau(name: str, values: Any) -> Row:
    interval = mean_interval(values)._asdict()
    return {"name": name, "metric": "kendall_tau", "unit": "seed", **interval}


def _ablations(name: str, workdirs: Workdirs) -> list[Row]:
    """Test errors of tiny searches, and of the best of their samples by training all of them."""
    test, valid = (_every(workdirs, part) for part in ("test", "valid"))
    if name.startswith("tiny-every") or not test:
        return []
    metric, folders = "test_error_percent", _seeds(workdirs[name])
    derived = [test[(seed / ARCHITECTURE).read_text().strip()] for seed in folders]
    rows = [_row("tiny", name.partition("-")[2], metric, derived)]
    if name == "tiny-controller":
        trained = []
        for seed in folders:
            samples = [one["architecture"] for one in json.loads((seed / DERIVED).read_text())]
            trained.append(test[min(samples, key=valid.__getitem__)])
        rows.append(_row("tiny", "controller_all_samples_trained", metric, trained))
    return rows


LOCAL = {"rnn": ("saturate", "swap"), "macro": ("plain",), "micro": ("rewire",)}
LOCAL_PRINTED = {"saturate": 8.0, "swap": 3.0, "plain": 1.7, "rewire": 2.1}


def _local_cells() -> dict[str, Cell]:
    """Derived architectures of `control`, and neighbours of each."""
    cells, control = {}, _control_cells()
    for space, changes in LOCAL.items():
        for seed in range(SEEDS):
            for name in (f"{space}-search-{seed}", f"{space}-controller-{seed}"):
                cells[name] = control[name]._replace(needs=())
            for change in changes:
                same = cells[f"{space}-controller-{seed}"]
                cells[f"{space}-{change}-{seed}"] = Cell(
                    same.config,
                    {**same.changes, "change": change},
                    needs=(f"{space}-controller-{seed}",),
                )
        for change in changes:
            first = f"{space}-{change}-0"
            others = tuple(f"{space}-{change}-{seed}" for seed in range(1, SEEDS))
            cells[first] = cells[first]._replace(needs=(*cells[first].needs, *others))
    return cells


def _local(name: str, workdirs: Workdirs) -> list[Row]:
    """How much worse neighbours are, over seeds."""
    space, change, seed = name.split("-")
    names = [(f"{space}-controller-{i}", f"{space}-{change}-{i}") for i in range(SEEDS)]
    if seed != "0" or change in ("search", "controller"):
        return []
    if not all(each in workdirs for pair in names for each in pair):
        return []
    gaps = []
    for pair in names:
        before, after = (_arm(space, "", [workdirs[each]])[0] for each in pair)
        gaps.append(after["value"] - before["value"])
    known = {"reference": LOCAL_PRINTED[change], "source": "Pham 2021, section 4.3: at most"}
    metric = before["metric"].replace("test_", "more_")
    row = {"name": f"{space}-{change}", "metric": metric, "unit": "seed"}
    return [row | mean_interval(gaps)._asdict() | known]


_TINY = _tiny_cells()
_CHILDREN = {
    "tiny-controller_m4": _TINY["tiny-controller"]._replace(
        changes={**_TINY["tiny-controller"].changes, "children": 4}
    )
}
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "enas/control": Table(
            "Architectures by a trained controller and without one", _control_cells(), _control
        ),
        "enas/ranking": Table("Shared weights against training from scratch", _TINY, _ranking),
        "enas/ablations": Table("Variants of a search", _TINY | _CHILDREN, _ablations),
        "enas/local": Table("Neighbours of derived architectures", _local_cells(), _local),
    }
)
