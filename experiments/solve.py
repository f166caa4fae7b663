"""Finds short tours through the cities of a file, with a trained pointer network or a solver.

    python -m experiments.solve --model nco/tsp20 cities.csv
    python -m experiments.solve --model nco/tsp20 --method sample --samples 12800 berlin52.tsp
    python -m experiments.solve --model runs/tsp50 --method active --steps 500 --compare eil51.tsp
    python -m experiments.solve --model random --method active --steps 2000 cities.csv
    python -m experiments.solve --model model.npz --first 1000 --json out.json test_set.npy
    python -m experiments.solve --method near_optimal --picture tour.png gr17.tsp

FILE is TSPLIB (.tsp, .atsp), a list of points (.csv, .tsv, .txt; columns x,y or name,lat,lon), or
an array of many instances (.npy, [instances, cities, 2]). Lengths are in the file's own unit and
rounding; where that is not the plane's, another column has the Euclidean length of the tour, in
the file's coordinates (of latitudes and longitudes, in km on a map of equal areas).

A network reads the cities scaled into the unit square; an instance without coordinates is for the
solvers alone. In the JSON, tours count cities from 0, in the file's order (TSPLIB: in the order of
its city numbers). A picture shows the first instances of many.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import instances as reader
from experiments.data.instances import Instances
from experiments.nco.solved import Solved, draw, record, table
from experiments.runner.checks import UserError
from experiments.runner.command import (
    FAILED,
    INTERRUPTED,
    Parser,
    command,
    natural,
    positive,
    whole,
)

NETWORK = ("greedy", "sample", "active")
SOLVERS = ("near_optimal", "or_tools", "christofides", "nearest_neighbour", "exact")
COMPARED = "near_optimal"
# Options that belong to one method, and their defaults; None depends on the model.
DEFAULTS: dict[str, dict[str, float | None]] = {
    "sample": {"samples": 1280, "temperature": None},
    "active": {"steps": 200, "batch": 128, "learning_rate": None},
}
FROM_SCRATCH_RATE = 1e-3  # learning rate of an untrained network: the seed's, in training


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line; options that do not depend on the model have their defaults."""
    parser = Parser("experiments.solve", __doc__)
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="the instances")
    add(
        "--model",
        metavar="MODEL",
        help="a shipped name (nco/tsp20), a run's folder, an .npz, or random (untrained)",
    )
    add(
        "--method",
        choices=NETWORK + SOLVERS,
        default="greedy",
        help="of the network: greedy (default), sample, active; or a solver, without --model",
    )
    add("--samples", metavar="K", type=whole, help="sample: tours drawn, the best kept (1280)")
    add(
        "--temperature",
        metavar="T",
        type=positive,
        help="sample: above 1 is bolder (the T* recorded for the model, or its finish.temperature; "
        "with more cities than in training, at most 1)",
    )
    add("--steps", metavar="N", type=whole, help="active: updates an instance (200)")
    add("--batch", metavar="B", type=whole, help="active: tours an update (128)")
    add(
        "--learning_rate",
        metavar="R",
        type=positive,
        help="active: of Adam (the model's finish.search_rate, or 1e-5; with --model random "
        f"{FROM_SCRATCH_RATE:g})",
    )
    add("--seed", metavar="S", type=natural, default=0, help="of all sampling (0)")
    add("--first", metavar="N", type=whole, help="solve the first N instances of the file only")
    add("--compare", action="store_true", help="also find near-optimal tours, and show the gap")
    add("--processes", metavar="P", type=whole, help="for the solvers (all cores, at most 8)")
    add("--json", metavar="OUT.json", type=Path, help="write lengths and tours")
    add("--picture", metavar="OUT.png", type=Path, help="draw tours (.png, .svg, .pdf)")
    add("--quiet", action="store_true", help="no progress bar")
    flags = parser.parse_args(arguments)
    if flags.method in NETWORK and flags.model is None:
        parser.error(f"--model is missing; --method {flags.method} needs a network")
    if flags.method in SOLVERS and flags.model is not None:
        parser.error(f"--method {flags.method} uses no network; leave --model out")
    for method, defaults in DEFAULTS.items():
        for name, default in defaults.items():
            given = getattr(flags, name)
            if given is not None and flags.method != method:
                parser.error(f"--{name} belongs to --method {method}, not {flags.method}")
            if given is None and flags.method == method:
                setattr(flags, name, default)
    flags.processes = flags.processes or min(8, os.cpu_count() or 1)
    return flags


@command
def main(words: Sequence[str]) -> int:
    """Runs the command line and returns the exit code."""
    flags = parse(words)
    try:
        instances = reader.read(flags.file)
        instances = instances if flags.first is None else reader.first(instances, flags.first)
        find = prepare(flags, instances)
    except OSError as error:
        raise UserError(str(error)) from error
    try:
        found = find()
        compared = solve(COMPARED, instances, flags) if flags.compare else None
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except (TimeoutError, RuntimeError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return FAILED
    print(table(instances, found, compared))
    if flags.json is not None:
        from experiments.runner.workdir import replace_text

        written = record(asked(flags), instances, found, compared)
        replace_text(flags.json, json.dumps(written) + "\n")
        print(f"wrote {flags.json}")
    if flags.picture is not None:
        draw(flags.picture, flags.method, instances, found, compared)
        print(f"wrote {flags.picture}")
    return 0


def asked(flags: argparse.Namespace) -> dict[str, Any]:
    """What was asked, for the record."""
    options = {name: getattr(flags, name) for name in DEFAULTS.get(flags.method, {})}
    known = {"file": str(flags.file), "model": flags.model, "method": flags.method}
    return {**known, **options, "seed": flags.seed}


def prepare(flags: argparse.Namespace, instances: Instances) -> Callable[[], Solved]:
    """Checks everything that can be checked before the work; returns the work.

    Raises:
        UserError: if an output, the instances or the model do not allow what was asked.
        InstanceError: if a network was asked for, and the instances have no coordinates.
        ImportError: if a library is missing.
    """
    for flag in ("json", "picture"):
        path = getattr(flags, flag)
        if path is not None and path.resolve() == flags.file.resolve():
            raise UserError(f"--{flag} {path}: this is the file of the instances")
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            problem = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise UserError(f"--{flag} {path}: {problem}")
    if flags.json is not None and flags.json.suffix.lower() != ".json":
        raise UserError(f"--json {flags.json}: expected a file that ends in .json")
    if flags.picture is not None:
        _check_picture(flags.picture, instances)
    solvers = {flags.method} & set(SOLVERS) | ({COMPARED} if flags.compare else set())
    for solver in sorted(solvers):
        _check_solver(solver, instances)
    if flags.method in SOLVERS:
        return functools.partial(solve, flags.method, instances, flags)
    points = reader.unit_square(instances)
    from experiments.nco import decoding as solution_search

    try:
        model = solution_search.load(flags.model, flags.seed)
    except (ValueError, LookupError, OSError) as error:
        raise UserError(f"--model {flags.model}: {error}") from error
    _settle(flags, points.shape[1])
    return functools.partial(search, model, points, instances, flags)


def _settle(flags: argparse.Namespace, cities: int) -> None:
    """Fills in the options that depend on the model."""
    from experiments.nco import decoding as solution_search
    from experiments.runner import pretrained

    if flags.model == solution_search.RANDOM:
        known = solution_search.Settings(learning_rate=FROM_SCRATCH_RATE)
    else:
        config = pretrained.load(flags.model).config
        known = solution_search.settings(flags.model, config, cities)
        trained = config.get("cities", cities)
        if cities >= 2 * trained:
            print(
                f"note: {flags.model} was trained on {trained} cities; on {cities} its tours are "
                "much longer than they need be",
                file=sys.stderr,
            )
    for name in DEFAULTS.get(flags.method, {}):
        if getattr(flags, name) is None:
            setattr(flags, name, getattr(known, name))


def _check_picture(path: Path, instances: Instances) -> None:
    from experiments.nco import tours

    if path.suffix.lower() not in tours.FORMATS:
        raise UserError(f"--picture {path}: expected a file in {', '.join(tours.FORMATS)}")
    if instances.display is None:
        raise UserError(f"--picture {path}: {instances.path} has no coordinates to draw")
    tours.check_available()


def _check_solver(solver: str, instances: Instances) -> None:
    from nco import solvers

    weights = instances.weights
    if weights is not None and solver not in ("exact", "nearest_neighbour"):
        off_diagonal = weights - np.diag(np.diag(weights))
        if not np.array_equal(off_diagonal, off_diagonal.T):
            other = "; --method exact takes asymmetric weights"
            raise UserError(f"{solver} needs symmetric weights, {instances.path} has others{other}")
    getattr(solvers, solver)(np.eye(4))  # finds a missing library now


def solve(name: str, instances: Instances, flags: argparse.Namespace) -> Solved:
    """Solves all instances by a solver, under the file's own metric."""
    from experiments.nco import solver_pool
    from nco import solvers

    count, planar = len(instances.names), instances.metric == reader.EUCLIDEAN
    with Bar(count, f"{name}, instances", flags.quiet) as bar:
        stack = (
            instances.points
            if planar
            else np.stack([reader.matrix(instances, i) for i in range(count)])
        )
        found = solver_pool.solve_many(
            solver_pool.near_optimal if name == COMPARED else getattr(solvers, name),
            **{"instances" if planar else "matrices": stack},
            processes=min(flags.processes, count),
            progress=lambda *_: bar(1),
        )
    return Solved(found.tours, reader.lengths(instances, found.tours), found.seconds)


def search(
    model: Any, points: np.ndarray, instances: Instances, flags: argparse.Namespace
) -> Solved:
    """Finds tours by the network."""
    from experiments.nco import decoding as solution_search

    count = len(points)
    if flags.method == "greedy":
        with Bar(count, "greedy, instances", flags.quiet) as bar:
            found = solution_search.greedy(model, points, bar)
    elif flags.method == "sample":
        with Bar(count * flags.samples, "samples", flags.quiet) as bar:
            found = solution_search.best_of_samples(
                model,
                points,
                bar,
                num_samples=flags.samples,
                temperature=flags.temperature,
                seed=flags.seed,
            )
    else:
        with Bar(count * flags.steps, "active search, steps", flags.quiet) as bar:
            found = solution_search.active_search(
                model,
                points,
                None if bar.hidden else bar,
                steps=flags.steps,
                batch=flags.batch,
                learning_rate=flags.learning_rate,
                seed=flags.seed,
            )
    lengths = reader.lengths(instances, found.actions)
    if flags.method == "active":
        greedy = reader.lengths(instances, solution_search.greedy(model, points).actions)
        if worse := int(np.sum(np.asarray(greedy) < np.asarray(lengths))):
            print(
                f"note: greedy decoding (--method greedy) has a shorter tour on {worse} of "
                f"{len(points)} instances; Active Search needs more --steps there",
                file=sys.stderr,
            )
    return Solved(found.actions, lengths, found.seconds, found.compile_seconds)


class Bar:
    """A progress bar on a terminal; nothing elsewhere, or when quiet."""

    def __init__(self, total: int, what: str, quiet: bool) -> None:
        from tqdm import tqdm

        self.hidden = quiet or not sys.stderr.isatty()
        self._bar = tqdm(
            total=total, desc=what, unit="", dynamic_ncols=True, leave=False, disable=self.hidden
        )

    def __call__(self, done: int) -> None:
        self._bar.update(done)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


if __name__ == "__main__":
    raise SystemExit(main())
