"""Tables 5.2 and 5.9 to 5.11 and figures 5.3 and 5.5 of Pham 2021 at a small scale, into results/.

    python -m experiments.mpl.tables ssl --jobs 2
    python -m experiments.mpl.tables all --jobs 2 --seeds 5
    python -m experiments.mpl.tables ssl --data fashion_mnist --labelled 1000 --runs runs/fashion
    python -m experiments.mpl.tables teachers --list

Each row is a run of `experiments.run`, several seeds in one, in its own folder below `--runs`; a
run that several tables need is made once, and the same command again goes on where it stopped. A
table, `experiments/results/mpl/TABLE.json`, is written once more after each of its runs: accuracy
on the test images in percent, its 95% interval over seeds, and the seed's figure for CIFAR-10 with
4,000 labels, which is another problem: compare differences between methods.

Tables: ssl (5.2), regularisation (5.9: unlabelled images are the labelled ones, no RandAugment),
teachers (5.10: with and without the student's feedback), reduced (5.11), components (figure 5.3,
each component's gain), labels (figure 5.5: 10 to 100% of the labels).

Every method trains its last network for the same number of updates, of batches of one size.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.mpl import config as mpl_config
from experiments.nco.tables import Parser
from experiments.report import rows
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.runner.workdir import RESULTS

ROOT = Path(__file__).resolve().parents[2]


class Job(NamedTuple):
    """A run: a config of `configs/mpl` and what it changes."""

    config: str
    changes: Mapping[str, Any] = MappingProxyType({})


class Cell(NamedTuple):
    """A row of a table.

    Attributes:
        job: the run's name.
        row: which of the run's rows; "" is the last, "-mpl" the student before finetuning.
        printed: the seed's figure, or None.
        source: where it stands.
    """

    job: str
    row: str = ""
    printed: float | None = None
    source: str = ""


def _changed(config: str, **changes: Any) -> Job:
    return Job(config, {key.replace("__", "."): value for key, value in changes.items()})


_PLAIN = {"augment__labelled": "weak"}
_SAME = {"data__same": True, "augment__num_ops": 0, "augment__labelled": "weak"}
# `supervised` has RandAugment; a teacher's own losses are those of the row without feedback.
JOBS: Mapping[str, Job] = MappingProxyType(
    {
        "supervised": Job("supervised"),
        "weak": _changed("supervised", **_PLAIN),
        "smoothed": _changed("supervised", smoothing=0.1, **_PLAIN),
        "mixup": _changed("supervised", method="mixup", **_PLAIN),
        "full": _changed("supervised", data__all_labels=True),
        "pseudo_labels": Job("pseudo_labels"),
        "uda": Job("uda"),
        "fixmatch": Job("fixmatch"),
        "noisy_student": Job("noisy_student"),
        "reduced": Job("reduced"),
        "mpl_uda": Job("meta"),
        "mpl_weak": _changed("meta", meta__teacher="supervised"),
        "mpl_supervised": _changed("meta", meta__teacher="supervised", augment__labelled="strong"),
        "mpl_mixup": _changed("meta", meta__teacher="mixup"),
        "mpl_pseudo_labels": _changed(
            "meta", meta__teacher="pseudo_labels", augment__labelled="strong"
        ),
        "mpl_same": _changed("meta", meta__teacher="supervised", **_SAME),
    }
)
_52, _59 = "Pham 2021, table 5.2: CIFAR-10, 4,000 labels", "Pham 2021, table 5.9: CIFAR-10-4K"
_510, _511 = (
    "Pham 2021, table 5.10: CIFAR-10-4K",
    "Pham 2021, table 5.11: EfficientNet-B0, CIFAR-10",
)
TABLES: Mapping[str, Mapping[str, Cell]] = MappingProxyType(
    {
        "ssl": {
            "supervised": Cell("supervised", "", 85.53, _510),
            "pseudo_labels": Cell("pseudo_labels", "", 83.79, _510),
            "uda": Cell("uda", "", 94.53, _52),
            "fixmatch": Cell("fixmatch", "", 95.74, f"{_52} (quoted there)"),
            "mpl_uda": Cell("mpl_uda", "", 96.11, _52),
            "supervised_full": Cell("full", "", 94.92, _52),
        },
        "regularisation": {
            "supervised": Cell("weak", "", 82.14, _59),
            "label_smoothing": Cell("smoothed", "", 82.21, _59),
            "mpl": Cell("mpl_same", "", 83.71, _59),
        },
        "teachers": {
            "pseudo_labels": Cell("pseudo_labels", "", 83.79, _510),
            "pseudo_labels+mpl": Cell("mpl_pseudo_labels", "", 84.11, _510),
            "mixup": Cell("mixup", "", 84.20, _510),
            "mixup+mpl": Cell("mpl_mixup", "", 84.81, _510),
            "randaugment": Cell("supervised", "", 85.53, _510),
            "randaugment+mpl": Cell("mpl_supervised", "", 87.55, _510),
        },
        "reduced": {
            "supervised": Cell("supervised", "", 97.18, _511),
            "noisy_student": Cell("noisy_student", "", 98.22, _511),
            "reduced_mpl": Cell("reduced", "", 98.56, _511),
        },
        "components": {
            "supervised": Cell("weak"),
            "randaugment": Cell("supervised"),
            "supervised+mpl": Cell("mpl_weak", "-mpl"),
            "supervised+mpl+finetune": Cell("mpl_weak"),
            "uda": Cell("uda"),
            "uda+mpl": Cell("mpl_uda", "-mpl"),
            "uda+mpl+finetune": Cell("mpl_uda"),
        },
    }
)
FRACTIONS = (10, 20, 40, 80, 100)  # percent of the training images, figure 5.5
TITLES = {
    "ssl": "Few labels: test accuracy in percent (table 5.2)",
    "regularisation": "Meta Pseudo Labels as a regulariser (table 5.9)",
    "teachers": "Teachers with and without their student's feedback (table 5.10)",
    "reduced": "A fixed teacher, and one adapted by a small network (table 5.11)",
    "components": "The gain of each component (figure 5.3)",
    "labels": "With more labels (figure 5.5)",
}


def of_labels(images: int) -> tuple[dict[str, Job], dict[str, Cell]]:
    """The runs and rows of figure 5.5, for a data set with so many training images.

    With all labels every image is an unlabelled one too, as in the seed's last point.
    """
    jobs, cells = {}, {}
    for percent in FRACTIONS:
        few: dict[str, Any] = {"data__all_labels": True} if percent == 100 else {}
        few |= {} if few else {"data__labelled": images * percent // 100}
        for method, config, more in (
            ("supervised", "supervised", _PLAIN),
            ("randaugment", "supervised", {}),
            ("mpl", "meta", {}),
        ):
            name = f"{method}-{percent}"
            jobs[f"labels_{name}"] = _changed(config, **few, **more)
            cells[name] = Cell(f"labels_{name}")
    return jobs, cells


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="python -m experiments.mpl.tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("tables", nargs="+", choices=[*TABLES, "labels", "all"], help="which")
    add("--data", choices=mpl_config.SIZES, default="digits", help="images (digits)")
    add("--labelled", type=int, metavar="N", help="labelled images (the config's)")
    add("--updates", type=int, metavar="N", help="of each network (the config's)")
    add("--seeds", type=int, default=5, metavar="N", help="runs of each method (5)")
    add("--preset", choices=("cpu", "smoke", "paper"), default="cpu", help="of the configs (cpu)")
    add("--runs", type=Path, metavar="DIR", help="folder of the runs (runs/mpl/DATA)")
    add("--jobs", type=int, default=1, metavar="N", help="runs at once, each on its own core (1)")
    add("--list", action="store_true", help="show the runs' commands and do nothing")
    add("--dry_run", action="store_true", help="make the runs, write no results")
    flags = parser.parse_args(words)
    for name, low in (("seeds", 1), ("jobs", 1), ("labelled", 1), ("updates", 10)):
        value = getattr(flags, name)
        if value is not None and value < low:
            parser.error(f"--{name}: expected at least {low}, got {value}")
    flags.runs = flags.runs or Path("runs/mpl") / flags.data
    command = shlex.join(["python", "-m", "experiments.mpl.tables", *words])
    try:
        jobs, tables = plan(flags.tables, flags.data)
        lines = {name: command_of(name, job, flags) for name, job in jobs.items()}
    except ConfigError as error:
        parser.error(str(error))
    if flags.list:
        for name, line in lines.items():
            print(f"{name}: {shlex.join(['python', *line[1:]])}")
        return 0
    return fill(lines, tables, flags, command)


def plan(
    wanted: Sequence[str], dataset: str
) -> tuple[dict[str, Job], dict[str, Mapping[str, Cell]]]:
    """The runs that tables need, in their order, each once; and the tables."""
    names = [*TABLES, "labels"] if "all" in wanted else list(dict.fromkeys(wanted))
    known, tables = dict(JOBS), dict(TABLES)
    if "labels" in names:
        from experiments import data

        more, tables["labels"] = of_labels(len(data.load(dataset)["train_labels"]))
        known |= more
    tables = {name: tables[name] for name in names}
    cells = itertools.chain.from_iterable(table.values() for table in tables.values())
    return {cell.job: known[cell.job] for cell in cells}, tables


def command_of(name: str, job: Job, flags: argparse.Namespace) -> list[str]:
    """The command line of a run, checked: `experiments.run` would take it.

    Raises:
        ConfigError: a change that the config does not have.
    """
    config = f"mpl/{job.config}:{flags.data},{flags.preset}"
    base = configs.load(config, [])
    changes = dict(job.changes) | {"num_seeds": flags.seeds}
    if flags.labelled is not None and "data.labelled" not in changes:
        changes["data.labelled"] = flags.labelled
    stages, tuned = base.stages.teacher, base.stages.finetune
    each = flags.updates or base.steps - stages - tuned
    if stages or changes.get("meta.teacher") == "pseudo_labels":
        stages = each
        changes["stages.teacher"] = stages
    changes["steps"] = stages + each + tuned
    configs.load(config, [(key, str(value)) for key, value in changes.items()])
    words = [f"--config.{key}={value}" for key, value in changes.items()]
    start = [sys.executable, "-m", "experiments.run", f"--config={config}"]
    return [*start, f"--workdir={flags.runs / name}", *words]


def fill(
    lines: Mapping[str, list[str]],
    tables: Mapping[str, Mapping[str, Cell]],
    flags: argparse.Namespace,
    command: str,
) -> int:
    """Makes the runs, some at a time, and writes each table after each of its runs."""
    flags.runs.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    lock = threading.Lock()
    cores: queue.Queue[int] = queue.Queue()
    for core in range(flags.jobs):
        cores.put(core)

    def one(name: str) -> None:
        core = cores.get()
        log = flags.runs / f"{name}.log"
        with log.open("a") as out:
            code = subprocess.run(
                [*_pinned(core, flags.jobs), *lines[name], "--quiet"],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        cores.put(core)
        with lock:
            print(f"{name}: {'done' if code == 0 else f'failed, see {log}'}", flush=True)
            if code:
                failed.append(name)
                return
            for table, cells in tables.items():
                if not flags.dry_run and any(cell.job == name for cell in cells.values()):
                    _write(table, cells, flags, command)

    with concurrent.futures.ThreadPoolExecutor(flags.jobs) as pool:
        list(pool.map(one, lines))
    return 1 if failed else 0


def _pinned(core: int, jobs: int) -> list[str]:
    """Words before a command that give it its core: two runs share two cores badly otherwise."""
    if jobs == 1 or not hasattr(os, "sched_getaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    mine = {allowed[core % len(allowed)]}
    code = f"import os,sys; os.sched_setaffinity(0, {mine}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code]


def _write(table: str, cells: Mapping[str, Cell], flags: argparse.Namespace, command: str) -> None:
    made = []
    for name, cell in cells.items():
        found = collect(flags.runs / cell.job / RESULTS, cell.row)
        if found is None:
            continue
        named = name if flags.data == "digits" else f"{flags.data}-{name}"
        known = {"reference": cell.printed, "source": cell.source}
        made.append(result_rows.from_run({**found, "name": named, **known, "command": command}))
    path = results_table.table_path(f"mpl/{table}")
    results_table.write_table(path, TITLES[table], made)


def collect(path: Path, suffix: str) -> rows.Row | None:
    """The row of a run's results that a cell shows, or None where the run is not done."""
    if not path.exists():
        return None
    found = json.loads(path.read_text())["rows"]
    if not suffix:
        return found[-1]
    (wanted,) = [row for row in found if row["name"].endswith(suffix)]
    return wanted


if __name__ == "__main__":
    sys.exit(main())
