"""Ackley, Rosenbrock, Levy and Rastrigin: glue of `configs/search/synthetic`, and the table.

    python -m experiments.search.synthetic                    LA-MCTS and TuRBO alone: half an hour
    python -m experiments.search.synthetic --functions ackley20 --methods turbo cma --seeds 3

In `ackley20_moved` and the like the minimum is at a random point of the box, another for each seed:
several methods begin in the box's middle or at the origin, where the functions have theirs or are
low. Each finished search is kept in `--workdir`, so that the command goes on where it was stopped;
rows are written of what is finished.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.report import kept_searches
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.runner import search_loop
from experiments.runner.checks import ConfigError, check_choice, check_int
from experiments.runner.evaluators import evaluator
from experiments.runner.experiment import Search
from experiments.runner.one_thread import one_thread
from experiments.search import tables as search_tables
from experiments.search import tree as tree_options
from experiments.search.methods import BOX_METHODS, PRESETS, in_box
from search import benchmarks
from search.interface import Searcher
from search.spaces import Box

TABLE = "search/synthetic"
TITLE = "Test functions: the best value after so many evaluations (cost, minimum 0)"
MARKS = (100, 300, 500, 700)  # evaluations at which a row is written besides the last


def build(config: Any) -> Search:
    """A search of a test function, minimised."""
    function = parse(config.function)
    check_choice(config, "method", BOX_METHODS)
    check_choice(config, "preset", tuple(PRESETS))
    tree = tree_options.checked(config)
    work = Search(
        searcher=in_box(
            config.method, function.box, preset=config.preset, budget=config.steps, **tree
        ),
        objective=function.objective(config.seed),
        headline=("value", "min"),
        evaluator=evaluator(config),
        batch_size=check_int(config, "batch_size", low=1),
        asynchronous=bool(config.asynchronous),
    )
    label = f"{config.function}-{config.method}"
    return work._replace(finish=lambda found, _: search_loop.best_row(label, work, found))


class Problem(NamedTuple):
    """A test function, its dimensions, and whether each seed has its minimum elsewhere."""

    name: str
    dim: int
    moved: bool

    @property
    def box(self) -> Box:
        """What is searched."""
        return benchmarks.FUNCTIONS[self.name].box(self.dim)

    def objective(self, seed: int) -> Callable[[Any, int], float]:
        """The reward, to be maximised; the seed matters where the minimum is moved."""
        if self.moved:
            return benchmarks.moved(self.name, self.dim, seed)
        return benchmarks.objective(self.name)


def parse(function: str) -> Problem:
    """The problem of, say, "ackley20" or "ackley20_moved".

    Raises:
      ConfigError: no such function.
    """
    match = re.fullmatch(r"([a-z]+)(\d+)(_moved)?", function)
    if match is None or match[1] not in benchmarks.FUNCTIONS or int(match[2]) < 2:
        known = [f"{name}20{end}" for name in benchmarks.FUNCTIONS for end in ("", "_moved")]
        raise ConfigError("function", "a name and a dimension of at least 2", function, known)
    return Problem(match[1], int(match[2]), match[3] is not None)


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(words)
    out = search_tables.path(options, TABLE)
    for function in options.functions:
        for method in options.methods:
            _searcher(parse(function), method, options)
    kept = Finished(options.workdir / "finished.jsonl")
    command = shlex.join(["python", "-m", "experiments.search.synthetic", *words])
    pairs = [(function, method) for function in options.functions for method in options.methods]
    with one_thread():
        for seed in range(options.seeds):
            for function, method in pairs:
                _search(kept, function, method, seed, options)
                _write(kept, function, method, options, out, command)
    search_tables.show(out, [f"{function}-{method}{options.suffix}" for function, method in pairs])
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = search_tables.parser("search_synthetic", __doc__, "runs/search_synthetic")
    add, positive = parser.add_argument, search_tables.positive
    functions = [f"{name}20" for name in benchmarks.FUNCTIONS]
    add("--functions", nargs="+", default=functions, metavar="FUNCTION",
        help=f"a name, a dimension, and _moved if wanted ({' '.join(functions)})")  # fmt: skip
    tree_options.add_methods(parser, ["lamcts_turbo", "turbo"])
    add("--seeds", type=positive, default=10, metavar="N", help="searches each (10)")
    add("--budget", type=positive, default=1000, metavar="N", help="evaluations a search (1000)")
    tree_options.add(parser)
    return parser.parse_args(words)


def _searcher(problem: Problem, method: str, options: argparse.Namespace) -> Searcher:
    return in_box(
        method, problem.box, preset=options.preset, budget=options.budget,
        **tree_options.checked(ConfigDict({"tree": _tree(options)})),
    )  # fmt: skip


def _tree(options: argparse.Namespace) -> ConfigDict:
    tree = ConfigDict(tree_options.defaults())
    tree_options.override(tree, options)
    return tree


def _key(function: str, method: str, seed: int, options: argparse.Namespace) -> str:
    settings = [function, method, options.preset, f"budget={options.budget}"]
    settings += tree_options.words(method, _tree(options))
    return " ".join([*settings, f"seed={seed}"])


def _search(
    kept: Finished, function: str, method: str, seed: int, options: argparse.Namespace
) -> None:
    key = _key(function, method, seed, options)
    if key in kept:
        return
    problem = parse(function)
    work = Search(_searcher(problem, method, options), problem.objective(seed), ("value", "min"))
    kept_searches.run_once(
        kept, key, work, budget=options.budget, seed=seed,
        more=lambda run: {"costs": [round(float(-best), 8) for best in run.best]},
    )  # fmt: skip


def _write(
    kept: Finished,
    function: str,
    method: str,
    options: argparse.Namespace,
    out: Path,
    command: str,
) -> None:
    keys = {seed: _key(function, method, seed, options) for seed in range(options.seeds)}
    found = {seed: kept[key] for seed, key in keys.items() if key in kept}
    # Older folders have costs alone.
    records = [{"best": [-cost for cost in each["costs"]], **each} for each in found.values()]
    rewards = kept_searches.at_marks(records, MARKS, options.budget)
    # A row at a mark that is the budget too says the same twice, and lets tables share columns.
    if options.budget in MARKS:
        rewards[f"best_value_at_{options.budget}"] = rewards["best_value"]
    costs: dict[str, Iterable[float]] = {
        metric: [-value for value in values] for metric, values in rewards.items()
    }
    config = keys[0].partition(" ")[2].rpartition(" ")[0]
    made = kept_searches.over_seeds(
        f"{function}-{method}{options.suffix}", costs, records=records, references={},
        command=command, config=config, seeds=list(found),
    )  # fmt: skip
    results_table.write_table(out, TITLE, made, whole=True)


if __name__ == "__main__":
    raise SystemExit(main())
