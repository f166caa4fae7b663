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
solvers alone. Tours are printed or, with --json, written: by the cities' names, or counting from 0
in the file's order (TSPLIB: in the order of its city numbers), as the JSON always does. Of many
instances the first are printed and drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import instances as reader
from experiments.data.instances import Instances
from experiments.nco import decoding, solver_pool, tours
from experiments.nco.solved import Solved, draw, listing, record, table
from experiments.report.figures import pyplot
from experiments.runner import pretrained
from experiments.runner.checks import UserError
from experiments.runner.command import FAILED, Parser, a_path, command, natural, positive, whole
from experiments.runner.command import bar as progress_bar
from experiments.runner.workdir import replace_text
from nco import solvers
from nco.many import Model

COMPARED = "near_optimal"
SOLVERS = {
    "near_optimal": solver_pool.near_optimal,
    "or_tools": solvers.or_tools,
    "christofides": solvers.christofides,
    "nearest_neighbour": solvers.nearest_neighbour,
    "exact": solvers.exact,
}
FROM_SCRATCH_RATE = 1e-3  # learning rate of an untrained network: the thesis's, in training
_BOLDER = (
    "above 1 is bolder (the model's T*, or its run's finish.temperature; with more cities "
    "than in training, at most 1)"
)
_RATE = (
    f"of Adam (the model's finish.search_rate, or 1e-5; with --model random {FROM_SCRATCH_RATE:g})"
)
Option = tuple[float | None, Callable[[str], Any], str, str]  # default, type, metavar, help
# The options of each method; where the default is None, it depends on the model.
METHODS: Mapping[str, Mapping[str, Option]] = {
    "greedy": {},
    "sample": {
        "samples": (1280, whole, "K", "tours drawn, the best kept (1280)"),
        "temperature": (None, positive, "T", _BOLDER),
    },
    "active": {
        "steps": (200, whole, "N", "updates an instance (200)"),
        "batch": (128, whole, "B", "tours an update (128)"),
        "learning_rate": (None, positive, "R", _RATE),
    },
    **{solver: {} for solver in SOLVERS},
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line; options that do not depend on the model have their defaults."""
    parser = Parser("experiments.solve", __doc__)
    add = parser.add_argument
    add("file", metavar="FILE", type=a_path, help="the instances")
    words = "a shipped name (nco/tsp20), a run's folder, an .npz, or random (untrained)"
    add("--model", metavar="MODEL", type=os.path.expanduser, help=words)
    words = "of the network: greedy (default), sample, active; or a solver, without --model"
    add("--method", choices=tuple(METHODS), default="greedy", help=words)
    for method, options in METHODS.items():
        for name, (_, kind, metavar, words) in options.items():
            add(f"--{name}", metavar=metavar, type=kind, help=f"{method}: {words}")
    add("--seed", metavar="S", type=natural, default=0, help="of all sampling (0)")
    add("--first", metavar="N", type=whole, help="solve the first N instances of the file only")
    add("--compare", action="store_true", help="also find near-optimal tours, and show the gap")
    add("--processes", metavar="P", type=whole, help="for the solvers (all cores, at most 8)")
    add("--json", metavar="OUT.json", type=a_path, help="write lengths and tours")
    add("--picture", metavar="OUT.png", type=a_path, help="draw tours (.png, .svg, .pdf)")
    add("--quiet", action="store_true", help="no progress bar")
    flags = parser.parse_args(arguments)
    if flags.method not in SOLVERS and flags.model is None:
        parser.error(f"--model is missing; --method {flags.method} needs a network")
    if flags.method in SOLVERS and flags.model is not None:
        parser.error(f"--method {flags.method} uses no network; leave --model out")
    for method, options in METHODS.items():
        for name, (default, *_) in options.items():
            if method == flags.method and getattr(flags, name) is None:
                setattr(flags, name, default)
            elif method != flags.method and getattr(flags, name) is not None:
                parser.error(f"--{name} belongs to --method {method}, not {flags.method}")
    flags.processes = flags.processes or min(8, os.cpu_count() or 1)
    return flags


@command
def main(words: Sequence[str]) -> int:
    """Runs the command line and returns the exit code."""
    flags = parse(words)
    instances = reader.read(flags.file)
    if flags.first is not None:
        instances = reader.first(instances, flags.first)
    find = prepare(flags, instances)
    try:
        found = find()
        compared = solve(COMPARED, instances, flags) if flags.compare else None
    except (TimeoutError, RuntimeError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return FAILED
    print(table(instances, found, compared))
    if flags.json is None:
        print(listing(instances, found))
    names = ("file", "model", "method", *METHODS[flags.method], "seed")
    asked = {name: getattr(flags, name) for name in names} | {"file": str(flags.file)}
    for path in filter(None, (flags.json, flags.picture)):
        try:
            if path is flags.json:
                written = record(asked, instances, found, compared)
                replace_text(path, json.dumps(written) + "\n")
            else:
                draw(path, flags.method, instances, found, compared)
        except OSError as error:
            print(f"stopped: {error}", file=sys.stderr)
            return FAILED
        print(f"wrote {path}")
    return 0


def prepare(flags: argparse.Namespace, instances: Instances) -> Callable[[], Solved]:
    """Checks everything that can be checked before the work; returns the work.

    Raises:
        UserError: if an output, the instances or the model do not allow what was asked.
        InstanceError: if a network was asked for, and the instances have no coordinates.
        ImportError: if a library is missing.
    """
    for flag, suffixes in (("json", (".json",)), ("picture", tours.FORMATS)):
        path = getattr(flags, flag)
        problem = "" if path is None else _unwritable(path, suffixes, flags.file)
        if problem:
            raise UserError(f"--{flag} {path}: {problem}")
    if flags.picture is not None:
        if instances.display is None:
            raise UserError(f"--picture {flags.picture}: {flags.file} has no coordinates to draw")
        pyplot()  # finds a missing library now
    wanted = {flags.method, COMPARED if flags.compare else flags.method}
    for solver in sorted(wanted & set(SOLVERS)):
        of_any = instances.weights is None or solver in ("exact", "nearest_neighbour")
        weights = np.eye(4) if of_any else reader.matrix(instances, 0)
        if not np.array_equal(weights, weights.T):
            other = "; --method exact takes asymmetric weights"
            raise UserError(f"{solver} needs symmetric weights, {flags.file} has others{other}")
        SOLVERS[solver](np.eye(4))  # finds a missing library now
    if flags.method in SOLVERS:
        return functools.partial(solve, flags.method, instances, flags)
    points = reader.unit_square(instances)
    try:
        model = decoding.load(flags.model, flags.seed)
    except (ValueError, LookupError, OSError) as error:
        raise UserError(f"--model {flags.model}: {error}") from error
    _settle(flags, points.shape[1])
    return functools.partial(search, model, points, instances, flags)


def _unwritable(path: Path, suffixes: tuple[str, ...], read: Path) -> str:
    """Why an output cannot be written, or nothing."""
    try:
        with contextlib.suppress(FileNotFoundError):
            path.stat()
        if path.resolve() == read.resolve():
            return "this is the file of the instances"
        if path.is_dir():
            return "is a folder"
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}"
        if path.suffix.lower() not in suffixes:
            return f"expected a file that ends in {', '.join(suffixes)}"
        if path.exists() and not os.access(path, os.W_OK):
            return "is protected from writing"
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    return ""


def _settle(flags: argparse.Namespace, cities: int) -> None:
    """Fills in the options that depend on the model."""
    known = decoding.Settings(learning_rate=FROM_SCRATCH_RATE)
    if flags.model != decoding.RANDOM:
        loaded = pretrained.load(flags.model)
        known = decoding.settings(loaded.config, loaded.meta, cities)
        trained = loaded.config.get("cities", cities)
        if cities >= 2 * trained:
            _note(
                f"{flags.model} was trained on {trained} cities; on {cities} its tours are "
                "much longer than they need be"
            )
    for name in METHODS[flags.method]:
        if getattr(flags, name) is None:
            setattr(flags, name, getattr(known, name))


def solve(name: str, instances: Instances, flags: argparse.Namespace) -> Solved:
    """Solves all instances by a solver, under the file's own metric."""
    count = len(instances.names)
    given: dict[str, Any] = {"instances": instances.points}
    if instances.metric != reader.EUCLIDEAN:
        given = {"matrices": np.stack([reader.matrix(instances, i) for i in range(count)])}
    with progress_bar(count, f"{name}, instances", quiet=flags.quiet) as bar:
        found = solver_pool.solve_many(
            SOLVERS[name],
            **given,
            processes=min(flags.processes, count),
            progress=lambda *_: bar.update(),
        )
    return Solved(found.tours, reader.lengths(instances, found.tours), found.seconds)


def search(
    model: Model, points: np.ndarray, instances: Instances, flags: argparse.Namespace
) -> Solved:
    """Finds tours by the network."""
    count, seed = len(points), flags.seed
    options = {name: getattr(flags, name) for name in METHODS[flags.method]}
    work = {
        "greedy": ("greedy, instances", 1),
        "sample": ("samples", flags.samples),
        "active": ("active search, steps", flags.steps),
    }
    what, each = work[flags.method]
    with progress_bar(count * each, what, quiet=flags.quiet) as bar:
        if flags.method == "greedy":
            found = decoding.greedy(model, points, bar.update)
        elif flags.method == "sample":
            options["num_samples"] = options.pop("samples")
            found = decoding.best_of_samples(model, points, bar.update, **options, seed=seed)
        else:  # which is faster where it need not tell
            told = None if bar.disable else bar.update
            found = decoding.active_search(model, points, told, **options, seed=seed)
    if flags.method != "greedy":
        score = functools.partial(reader.lengths, instances)
        found = decoding.at_least_greedy(found, model, points, reward=lambda x: -score(x))
    lengths = reader.lengths(instances, found.actions)
    return Solved(found.actions, lengths, found.seconds, found.compile_seconds)


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
