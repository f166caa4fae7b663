"""Tables 5.2 and 5.9 to 5.11 and figures 5.2 to 5.5 of Pham 2021 at a small scale, as runs.

    python -m experiments.report --fill mpl/ssl --jobs 2
    python -m experiments.report --fill mpl/ssl_fashion_mnist --list

Accuracy on the test images in percent, its 95% interval over seeds, and beside it the thesis's
figure for CIFAR-10 with 4,000 labels, which is another problem: compare differences between
methods. Every method trains its last network for the same number of updates, of batches of one
size.

Tables: ssl (5.2, and figure 5.4), regularisation (5.9: unlabelled images are the labelled ones, no
RandAugment), teachers (5.10: with and without the student's feedback), reduced (5.11), components
(figure 5.3, each component's gain), labels (figure 5.5: 10 to 100% of the labels), two_moon
(section 5.3.1).

Rows "no_feedback" are a control: the same teacher and student as in the row with "mpl", but the
feedback has weight 0. The difference from that row is what feedback adds; the difference from the
teacher's own row is what a student adds that learns from drawn labels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from experiments.mpl import figures, moons
from experiments.report.interval import Interval, mean_interval, rate_interval
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.workdir import RESULTS, read_results
from mpl.moons import METHODS

IMAGES = {"digits": 1500, "fashion_mnist": 60_000}  # for training, of which figure 5.5 labels parts
UPDATES = {"digits": 2000, "fashion_mnist": 10_000}  # of each network, in the preset `cpu`
FRACTIONS = (10, 20, 40, 80, 100)  # percent of the training images, figure 5.5


class Printed(NamedTuple):
    """A row of a table: which run shows it, and the thesis's figure.

    Attributes:
        run: of `_runs`.
        suffix: of the run's row; "" is the last, "-mpl" the student before finetuning.
        value: the thesis's figure, or None.
        source: where it stands.
    """

    run: str
    suffix: str = ""
    value: float | None = None
    source: str = ""


_52, _59 = "Pham 2021, table 5.2: CIFAR-10, 4,000 labels", "Pham 2021, table 5.9: CIFAR-10-4K"
_510, _511 = (
    "Pham 2021, table 5.10: CIFAR-10-4K",
    "Pham 2021, table 5.11: EfficientNet-B0, CIFAR-10",
)
PRINTED: Mapping[str, Mapping[str, Printed]] = MappingProxyType(
    {
        "ssl": {
            "supervised": Printed("supervised", "", 85.53, _510),
            "pseudo_labels": Printed("pseudo_labels", "", 83.79, _510),
            "uda": Printed("uda", "", 94.53, _52),
            "fixmatch": Printed("fixmatch", "", 95.74, f"{_52} (quoted there)"),
            "mpl_uda": Printed("mpl_uda", "", 96.11, _52),
            "mpl_uda_no_feedback": Printed("mpl_uda_no_feedback"),
            "supervised_full": Printed("full", "", 94.92, _52),
        },
        "regularisation": {
            "supervised": Printed("weak", "", 82.14, _59),
            "label_smoothing": Printed("smoothed", "", 82.21, _59),
            "mpl": Printed("mpl_same", "", 83.71, _59),
        },
        "teachers": {
            "pseudo_labels": Printed("pseudo_labels", "", 83.79, _510),
            "pseudo_labels+mpl": Printed("mpl_pseudo_labels", "", 84.11, _510),
            "pseudo_labels+no_feedback": Printed("mpl_pseudo_labels_no_feedback"),
            "mixup": Printed("mixup", "", 84.20, _510),
            "mixup+mpl": Printed("mpl_mixup", "", 84.81, _510),
            "mixup+no_feedback": Printed("mpl_mixup_no_feedback"),
            "randaugment": Printed("supervised", "", 85.53, _510),
            "randaugment+mpl": Printed("mpl_supervised", "", 87.55, _510),
            "randaugment+no_feedback": Printed("mpl_supervised_no_feedback"),
        },
        "reduced": {
            "supervised": Printed("supervised", "", 97.18, _511),
            "noisy_student": Printed("noisy_student", "", 98.22, _511),
            "reduced_mpl": Printed("reduced", "", 98.56, _511),
        },
        "components": {
            "supervised": Printed("weak"),
            "randaugment": Printed("supervised"),
            "supervised+mpl": Printed("mpl_weak", "-mpl"),
            "supervised+mpl+finetune": Printed("mpl_weak"),
            "supervised+no_feedback": Printed("mpl_weak_no_feedback", "-mpl"),
            "supervised+no_feedback+finetune": Printed("mpl_weak_no_feedback"),
            "uda": Printed("uda"),
            "uda+mpl": Printed("mpl_uda", "-mpl"),
            "uda+mpl+finetune": Printed("mpl_uda"),
            "uda+no_feedback": Printed("mpl_uda_no_feedback", "-mpl"),
            "uda+no_feedback+finetune": Printed("mpl_uda_no_feedback"),
        },
    }
)
TITLES = {
    "ssl": "Few labels: test accuracy in percent (table 5.2)",
    "regularisation": "Meta Pseudo Labels as a regulariser (table 5.9)",
    "teachers": "Teachers with and without their student's feedback (table 5.10)",
    "reduced": "A fixed teacher, and one adapted by a small network (table 5.11)",
    "components": "The gain of each component (figure 5.3)",
    "labels": "With more labels (figure 5.5)",
    "two_moon": "TwoMoon, 6 labels: how often a method finds the moons",
}
_PLAIN = {"augment.labelled": "weak"}


def _runs(data: str, seeds: int) -> dict[str, Cell]:
    """The runs by name; `supervised` has RandAugment."""
    same = {"data.same": True, "augment.num_ops": 0, **_PLAIN}
    tuned = 200  # updates of finetuning, which follow
    teacher = {"stages.teacher": UPDATES[data], "steps": 2 * UPDATES[data] + tuned}

    def run(config: str, **changes: Any) -> Cell:
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        return Cell(f"mpl/{config}:{data},cpu", dotted | {"num_seeds": seeds})

    def meta(teacher: str, **changes: Any) -> Cell:
        return run("meta", meta__teacher=teacher, **changes)

    runs = {
        "supervised": run("supervised"),
        "weak": run("supervised", **_PLAIN),
        "smoothed": run("supervised", smoothing=0.1, **_PLAIN),
        "mixup": run("supervised", method="mixup", **_PLAIN),
        "full": run("supervised", data__all_labels=True),
        "pseudo_labels": run("pseudo_labels"),
        "uda": run("uda"),
        "fixmatch": run("fixmatch"),
        "noisy_student": run("noisy_student"),
        "reduced": run("reduced"),
        "mpl_uda": run("meta"),
        "mpl_weak": meta("supervised"),
        "mpl_supervised": meta("supervised", augment__labelled="strong"),
        "mpl_mixup": meta("mixup"),
        "mpl_pseudo_labels": meta("pseudo_labels", augment__labelled="strong", **teacher),
        "mpl_same": meta("supervised", **same),
    }
    off = {"meta.feedback": "none", "num_seeds": 2 * seeds}  # twice the seeds: small differences
    controls = ("mpl_uda", "mpl_weak", "mpl_supervised", "mpl_mixup", "mpl_pseudo_labels")
    return runs | {
        f"{name}_no_feedback": runs[name]._replace(changes={**runs[name].changes, **off})
        for name in controls
    }


def _of_labels(data: str, seeds: int, updates: int) -> dict[str, Cell]:
    """The runs of figure 5.5; with all labels every image is an unlabelled one too, as there."""
    cells = {}
    for percent in FRACTIONS:
        few: dict[str, Any] = {"data.labelled": IMAGES[data] * percent // 100}
        if percent == 100:
            few = {"data.all_labels": True}
        for method, config, more in (
            ("supervised", "supervised", _PLAIN),
            ("randaugment", "supervised", {}),
            ("mpl", "meta", {}),
        ):
            steps = updates + (200 if config == "meta" else 0)
            changes = {**few, **more, "num_seeds": seeds, "steps": steps}
            cells[f"{method}-{percent}"] = Cell(f"mpl/{config}:{data},cpu", changes)
    return cells


def row_of(path: Path, suffix: str) -> Row:
    """The row of a run's results that a cell shows."""
    found = read_results(path / RESULTS)["rows"]
    if not suffix:
        return found[-1]
    (wanted,) = [row for row in found if row["name"].endswith(suffix)]
    return wanted


def _table(what: str, data: str, seeds: int, draw: Any = None) -> Table:
    printed, runs = PRINTED[what], _runs(data, seeds)

    def rows(name: str, workdirs: Workdirs) -> list[Row]:
        cell = printed[name]
        known = {"name": name, "reference": cell.value, "source": cell.source}
        return [row_of(workdirs[name], cell.suffix) | known]

    return Table(TITLES[what], {name: runs[cell.run] for name, cell in printed.items()}, rows, draw)


def _last(name: str, workdirs: Workdirs) -> list[Row]:
    return [row_of(workdirs[name], "") | {"name": name}]


def _of_moons() -> dict[str, Cell]:
    """TwoMoon: moons drawn apart, other data sets ("fresh"), and the usual, interlocked ones."""
    every, some = (*METHODS, moons.SVM), (*METHODS[:3], moons.SVM)
    cells = {}
    for prefix, methods, changes in (
        ("", every, {}),
        ("fresh-", some, {"seed": 200}),
        ("interlocked-", every, {"noise": 0.05, "separation": 0.0, "num_seeds": 40}),
    ):
        for method in methods:
            own = changes | ({"num_seeds": 20} if method == moons.SVM else {})
            cells[f"{prefix}{method}"] = Cell(f"mpl/moons:{method},paper", own)
    return cells


def _rates(name: str, workdirs: Workdirs) -> list[Row]:
    """How many seeds' networks found the moons, and the accuracy in percent."""
    found = moons.accuracies(workdirs[name])

    def row(metric: str, interval: Interval) -> Row:
        return {"name": name, "metric": metric, "unit": "seed", **interval._asdict()}

    rate = rate_interval(np.asarray(found >= moons.RIGHT))
    return [row("success_rate", rate), row("accuracy", mean_interval(100.0 * found))]


DRAWN = {
    "ssl": figures.training,
    "components": functools.partial(figures.components, list(PRINTED["components"])),
}
TABLES: Mapping[str, Table] = MappingProxyType(
    {f"mpl/{what}": _table(what, "digits", 5, DRAWN.get(what)) for what in PRINTED}
    | {"mpl/ssl_fashion_mnist": _table("ssl", "fashion_mnist", 3)}
    | {"mpl/labels": Table(TITLES["labels"], _of_labels("digits", 3, 1000), _last, figures.labels)}
    | {"mpl/two_moon": Table(TITLES["two_moon"], _of_moons(), _rates, figures.two_moon)}
)
