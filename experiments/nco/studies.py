"""Four questions about a trained network, each answered by one command, into results/.

    python -m experiments.nco.studies temperature nco/tsp20      # T* of sampling, by grid search
    python -m experiments.nco.studies budget nco/tsp20           # quality and seconds, by solutions
    python -m experiments.nco.studies sizes nco/tsp20 nco/tsp50  # larger instances than in training
    python -m experiments.nco.studies tsplib nco/tsp50 --folder DIR   # by Active Search

`temperature` uses validation instances, which no table reports, and tells the T* to pass on to
`experiments.nco.tables` (Pham 2021, section 2.5.1). `budget` is the seed's missing "Table 4":
sampling and Active Search that are stopped early, whose seconds are their share of the whole
search's; it draws `budget.png` too. `tsplib` reads the
.tsp files of a folder under TSPLIB's own rounding; a file without coordinates is scored by a solver
and is not for the network. Gaps are to near-optimal tours (exact ones for the knapsack; published
optima for TSPLIB).
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.data import geography
from experiments.data import instances as reader
from experiments.nco import decoding as solution_search
from experiments.nco import methods as nco_methods
from experiments.nco import solver_pool
from experiments.nco import training as pointer_training
from experiments.nco.decoding import Found, Model
from experiments.nco.methods import Options, Reached, Task
from experiments.nco.tables import Parser
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import Interval, mean_interval
from experiments.runner import pretrained
from experiments.runner.distributed import make_cpu_devices

Rows = list[dict[str, Any]]
VALIDATION_SEED = 20_001
TITLES = {
    "temperature": "Sampling at several temperatures, on validation instances",
    "budget": "Quality and time against the number of solutions considered",
    "sizes": "Networks on instances of other sizes than they were trained on",
    "tsplib": "TSPLIB instances under TSPLIB's rounding",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags = parse(words)
    path = results_table.table_path(f"nco/{flags.study}")
    command = shlex.join(["python", "-m", "experiments.nco.studies", *words])
    try:
        if flags.cpu_devices is not None:
            make_cpu_devices(flags.cpu_devices)  # before anything else uses jax
        loaded = {name: pretrained.load(name) for name in flags.models}
        check(flags, loaded)
        made = STUDIES[flags.study](loaded, flags)
    except (LookupError, ValueError, OSError) as error:
        print(f"error: {error}\nTry --help.", file=sys.stderr)
        return 2
    if flags.dry_run:
        return 0
    rows = [result_rows.row(**{"config": "", "command": command, **row}) for row in made]
    results_table.write_table(path, TITLES[flags.study], rows)
    print(f"wrote {path}")
    if flags.study == "budget":
        print(f"wrote {draw_budget(rows, path.with_suffix('.png'))}")
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m experiments.nco.studies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("study", choices=sorted(STUDIES), help="the question")
    add("models", nargs="+", metavar="MODEL", help="a shipped name, a run's folder, or an .npz")
    add("--instances", type=int, default=200, metavar="N", help="instances (%(default)s)")
    add("--active", type=int, default=10, metavar="N", help="budget: for Active Search (10)")
    add(
        "--samples",
        type=int,
        default=1280,
        metavar="K",
        help="temperature, sizes: drawn (1280)",
    )
    add(
        "--temperature",
        type=float,
        metavar="T",
        help="budget: T (the model's T*, or its finish.temperature); sizes: T (1.0)",
    )
    grid = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
    add("--grid", type=float, nargs="+", default=grid, metavar="T", help="temperature: the grid")
    add(
        "--sizes",
        type=int,
        nargs="+",
        default=(20, 50, 100, 150, 200),
        metavar="N",
        help="sizes: of instances",
    )
    add("--steps", type=int, default=200, metavar="N", help="updates of Active Search (200)")
    add(
        "--learning_rate",
        type=float,
        metavar="R",
        help="of Active Search (the model's finish.search_rate, or 1e-5)",
    )
    add("--folder", type=Path, metavar="DIR", help="tsplib: where the .tsp files are")
    add("--cpu_devices", type=int, metavar="N", help="split instances over N cores")
    add("--dry_run", action="store_true", help="measure, write nothing")
    flags = parser.parse_args(words)
    for name, values in vars(flags).items():
        for value in values if isinstance(values, list | tuple) else (values,):
            if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
                parser.error(f"--{name}: expected a positive number, got {value}")
    return flags


def check(flags: argparse.Namespace, loaded: dict[str, pretrained.Pretrained]) -> None:
    """What can be checked before the work.

    Raises:
        ValueError: models, sizes, temperatures or files that the study cannot use.
    """
    tasks = {name: nco_methods.task_of(each.config) for name, each in loaded.items()}
    if flags.study in ("sizes", "tsplib"):
        for name, task in tasks.items():
            if task.sign > 0:
                raise ValueError(f"{flags.study}: expected networks of tours, got {name}")
        if len({task.name for task in tasks.values()}) < len(flags.models):
            raise ValueError(f"{flags.study}: expected models of different sizes")
    elif len(flags.models) > 1:
        raise ValueError(f"{flags.study}: expected one model, got {len(flags.models)}")
    for name, values in (("sizes", flags.sizes), ("grid", flags.grid)):
        if len(set(values)) < len(values):
            raise ValueError(f"--{name}: expected each once, got {values}")
    if not all(2 <= cities <= 1000 for cities in flags.sizes):
        raise ValueError(f"--sizes: expected 2 to 1000 cities, got {flags.sizes}")
    if flags.study == "tsplib":
        if flags.folder is None or not any(flags.folder.glob("*.tsp")):
            raise ValueError(f"--folder: expected one that holds .tsp files, got {flags.folder}")
        for path in flags.folder.glob("*.tsp"):
            reader.read(path)  # a broken file is named now


def _optimum(task: Task, instances: np.ndarray) -> Reached:
    return nco_methods.baselines(task, Options())["optimal"].solve(instances)


def temperature(loaded: dict[str, pretrained.Pretrained], flags: argparse.Namespace) -> Rows:
    """Best of K samples at each temperature of a grid, and T*, the best of them."""
    ((name, each),) = loaded.items()
    task, model = nco_methods.task_of(each.config), solution_search.of(each, name)
    key = jax.random.key(VALIDATION_SEED)
    instances = np.asarray(task.problem.sample(key, flags.instances, task.items))
    best = _optimum(task, instances).values
    rows, means = [], {}
    for value in flags.grid:
        found = solution_search.best_of_samples(
            model, instances, num_samples=flags.samples, temperature=value
        )
        reached = nco_methods.score(task, instances, found.actions)
        gap = mean_interval(nco_methods.gap_percent(task, reached, best))
        means[value] = gap.value
        shared = {"name": f"{task.name}-T{value:g}", "unit": "instance", "config": f"model {name}"}
        rows += [shared | {"metric": task.metric, "value": mean_interval(reached)}]
        rows += [shared | {"metric": "gap_percent", "value": gap}]
        print(f"{task.name}, T = {value:g}: gap {gap.value:.3f}%", flush=True)
    chosen = min(means, key=lambda value: means[value])
    print(f"T* = {chosen:g}")
    paper = {"tsp20": 2.0, "tsp50": 2.2, "tsp100": 1.5}.get(task.name)
    star = {"name": f"{task.name}-T*", "metric": "temperature", "value": chosen, "unit": "seed"}
    source = "Pham 2021, section 2.5.1" if paper else ""
    return [*rows, star | {"reference": paper, "source": source, "config": f"model {name}"}]


def budget(loaded: dict[str, pretrained.Pretrained], flags: argparse.Namespace) -> Rows:
    """Gap and seconds an instance after 128, 1,280, ... solutions, for both searches."""
    ((name, each),) = loaded.items()
    task, model = nco_methods.task_of(each.config), solution_search.of(each, name)
    instances = pointer_training.public_instances(task.items, max(flags.instances, flags.active))
    best = _optimum(task, instances).values
    total = 128 * flags.steps
    known = solution_search.settings(name, each.config, task.items)
    draw: dict[str, Any] = {"temperature": flags.temperature or known.temperature}
    rows: Rows = []

    def add(method: str, found: Found, points: Sequence[int]) -> None:
        assert found.best_so_far is not None
        assert found.considered is not None
        count = found.best_so_far.shape[1]
        for point in points:
            at = int(np.searchsorted(found.considered, point))
            reached = task.sign * found.best_so_far[at].astype(np.float64)
            gap = nco_methods.gap_percent(task, reached, best[:count])
            # Measured for the whole search: a part's share has no interval of its own.
            share = float(found.seconds.mean()) * found.considered[at] / found.considered[-1]
            seconds = Interval(share, share, share, count)
            if at == len(found.considered) - 1:
                seconds = mean_interval(found.seconds)
            shared = {"name": f"{task.name}-{method}{point}", "unit": "instance"}
            shared |= {"config": f"model {name}"}
            rows.append(shared | {"metric": "gap_percent", "value": mean_interval(gap)})
            rows.append(shared | {"metric": "instance_seconds", "value": seconds})
            print(f"{task.name}, {method}, {point}: gap {gap.mean():.3f}%", flush=True)

    start = instances[: flags.instances]
    add("sample", solution_search.best_of_samples(model, start, num_samples=128, **draw), [128])
    points = [128 * each for each in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)]
    long = -(-total // 1280) * 1280
    found = solution_search.best_of_samples(model, start, num_samples=long, **draw)
    add("sample", found, [point for point in points if point <= long and point % 1280 == 0])
    found = solution_search.active_search(
        model,
        instances[: flags.active],
        steps=flags.steps,
        learning_rate=flags.learning_rate or known.learning_rate,
    )
    add("active", found, [point for point in points if point <= total])
    return rows


def draw_budget(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Gap against solutions considered, and against seconds: a line a task and search."""
    from experiments.report.figures import DASHES, PALETTE, STYLE, pyplot

    plt = pyplot()
    values = {(row["name"], row["metric"]): row for row in rows}
    lines: dict[str, list[tuple[int, dict, dict]]] = {}
    for (name, metric), row in values.items():
        if metric == "gap_percent":
            label = name.rstrip("0123456789")
            seconds = values[name, "instance_seconds"]
            lines.setdefault(label, []).append((int(name[len(label) :]), row, seconds))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
        for place, (label, points) in enumerate(sorted(lines.items())):
            points.sort(key=lambda point: point[0])
            style = {"color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place % 4]}
            counts = f" ({points[-1][1]['n']} instances)"
            gaps = [[row[key] for _, row, _ in points] for key in ("low", "value", "high")]
            across = ([k for k, _, _ in points], [s["value"] for _, _, s in points])
            for axis, x in zip(axes, across, strict=True):
                axis.fill_between(x, gaps[0], gaps[2], color=style["color"], alpha=0.15, lw=0)
                axis.plot(x, gaps[1], marker="o", markersize=3, label=label + counts, **style)
                axis.set_xscale("log")
        axes[0].set_xlabel("solutions considered")
        axes[1].set_xlabel("seconds an instance")
        axes[0].set_ylabel("gap (%)")
        axes[0].legend()
        figure.savefig(path)
        plt.close(figure)
    return path


def sizes(loaded: dict[str, pretrained.Pretrained], flags: argparse.Namespace) -> Rows:
    """Greedy decoding and sampling on instances of several sizes."""
    rows: Rows = []
    for cities in flags.sizes:
        instances = pointer_training.public_instances(cities, flags.instances)
        best: np.ndarray | None = None
        for name, each in loaded.items():
            task = nco_methods.task(f"tsp{cities}", each.config)
            best = _optimum(task, instances).values if best is None else best
            model = solution_search.of(each, name)
            draw = functools.partial(
                solution_search.best_of_samples,
                num_samples=flags.samples,
                temperature=flags.temperature or 1.0,
            )
            searches: dict[str, Callable[..., Found]] = {
                "greedy": solution_search.greedy,
                f"sample{flags.samples}": draw,
            }
            for method, search in searches.items():
                found = search(model, instances)
                reached = nco_methods.score(task, instances, found.actions)
                gap = mean_interval(nco_methods.gap_percent(task, reached, best))
                shared = {"name": f"tsp{each.config['cities']}-on-{cities}-{method}"}
                shared |= {"unit": "instance", "config": f"model {name}"}
                rows.append(shared | {"metric": "tour_length", "value": mean_interval(reached)})
                rows.append(shared | {"metric": "gap_percent", "value": gap})
                print(f"{name} on {cities} cities, {method}: gap {gap.value:.2f}%", flush=True)
    return rows


def tsplib(loaded: dict[str, pretrained.Pretrained], flags: argparse.Namespace) -> Rows:
    """Active Search on each file, from the model trained on the nearest number of cities."""
    rows: Rows = []

    def add(name: str, length: float, config: str) -> None:
        stem = name.rpartition("-")[0]
        row = {"name": f"tsplib-{name}", "unit": "instance", "config": config}
        published = geography.OPTIMA.get(stem)
        source = "TSPLIB, optimal" if published else ""
        known = {"reference": published, "source": source}
        rows.append(row | {"metric": "tour_length", "value": length} | known)
        text = f"{name}: {length:g}"
        if published:
            gap = 100 * (length / published - 1)
            rows.append(row | {"metric": "gap_percent", "value": gap})
            text += f" ({gap:+.2f}%)"
        print(text, flush=True)

    for path in sorted(flags.folder.glob("*.tsp"), key=lambda path: path.name.lower()):
        instance = reader.read(path)
        stem = path.stem
        weights = reader.matrix(instance, 0)
        tour = solver_pool.near_optimal(matrix=weights)
        add(f"{stem}-near_optimal", float(reader.lengths(instance, tour[None])[0]), "")
        if instance.coords is None:
            print(f"{stem}: no coordinates, so nothing that a pointer network reads")
            continue
        name = min(loaded, key=lambda n: abs(loaded[n].config["cities"] - instance.cities))
        model: Model = solution_search.of(loaded[name], name)
        points = reader.unit_square(instance)
        known = solution_search.settings(name, loaded[name].config, instance.cities)
        searches: dict[str, Found] = {
            "greedy": solution_search.greedy(model, points),
            "active": solution_search.active_search(
                model,
                points,
                steps=flags.steps,
                learning_rate=flags.learning_rate or known.learning_rate,
            ),
        }
        for method, found in searches.items():
            length = float(reader.lengths(instance, found.actions)[0])
            add(f"{stem}-{method}", length, f"model {name}")
    return rows


STUDIES: dict[str, Callable[..., Rows]] = {
    "temperature": temperature,
    "budget": budget,
    "sizes": sizes,
    "tsplib": tsplib,
}


if __name__ == "__main__":
    raise SystemExit(main())
