"""`--dry_run`: what a run would be, from shapes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax

from experiments.runner import config as configs
from experiments.runner.checks import flatten
from experiments.runner.experiment import Experiment, Search
from experiments.runner.programs import Programs
from experiments.runner.schedule import check_phases
from parallel.data_parallel import make_mesh
from parallel.trees import batch_rows, count, leaf_names

PyTree = Any
_LONGEST = 200  # lines of a table


def describe(experiment: Experiment | Search, config: Any, devices: Sequence[Any]) -> str:
    """Returns the config, the state's shapes and sizes, the phases, FLOPs and bytes an update.

    Bytes of a step are those of its arguments and of the arrays between its operations that are
    alive at once (`parallel.liveness`), on all devices together; the compiler's fusion needs less.

    Of a search: the config, the budget and the first trial, which is asked for and not evaluated.

    Raises:
      ConfigError: the phases do not add up to `config.steps`.
    """
    if isinstance(experiment, Search):
        return _describe_search(experiment, config)
    check_phases(experiment.phases, experiment.cycle, config.steps)
    programs = Programs(experiment, make_mesh(devices), 1, "map")
    state = programs.abstract_state()
    lines = [*_config(config), "", "state:", *_table(state)]
    values, size = count(state)
    lines.append(f"  {values:,} values, {size:,} bytes" + _times(config.num_seeds))
    lines += _parameters(state)
    order = "in a cycle" if experiment.cycle else "in sequence"
    lines += ["", f"{config.steps:,} steps on {len(devices)} device(s); phases {order}:"]
    for index, phase in enumerate(experiment.phases):
        batch = programs.abstract_batch(index, config.seed)
        lines.append(f"  {phase.name}: {phase.steps:,} steps, {_cost(phase.update, state, batch)}")
        lines += ["  " + line for line in _table(batch, "batch.")]
        lines.append(f"    {batch_rows(batch):,} items an update")
    lines += ["", "dry run: nothing was written"]
    return "\n".join(lines)


def _describe_search(work: Search, config: Any) -> str:
    _, trials = work.searcher.ask(work.searcher.init(config.seed), 1)
    open_trials = "at any time" if work.asynchronous else "a batch"
    metric, mode = work.headline
    lines = _config(config)
    budget = work.budget or config.steps
    lines += ["", f"{budget:,} evaluations a seed, {work.batch_size} {open_trials}"]
    lines += [f"headline: {metric} ({mode})", f"first trial: {trials[0].point}"]
    lines += ["", "dry run: nothing was evaluated or written"]
    return "\n".join(lines)


def _config(config: Any) -> list[str]:
    lines = ["config:"]
    lines += [f"  {key} = {value!r}" for key, value in flatten(config).items()]
    return [*lines, "", f"identity: {configs.digest(config)}"]


def _table(tree: PyTree, prefix: str = "") -> list[str]:
    names = [prefix + name for name in leaf_names(tree)]
    if len(names) > _LONGEST:
        return _short_table(names, jax.tree.leaves(tree))
    width = max(map(len, names), default=0)
    return [
        f"  {name:{width}}  {leaf.dtype}{list(leaf.shape)}"
        for name, leaf in zip(names, jax.tree.leaves(tree), strict=True)
    ]


def _short_table(names: list[str], leaves: list[Any]) -> list[str]:
    """Leaves under their common beginnings, as far as these tell them apart in a few lines."""
    depth = 1
    while len({_start(name, depth + 1) for name in names}) <= _LONGEST // 4:
        depth += 1
    groups: dict[str, list[Any]] = {}
    for name, leaf in zip(names, leaves, strict=True):
        groups.setdefault(_start(name, depth), []).append(leaf)
    width = max(map(len, groups))
    lines = []
    for name, found in groups.items():
        values, size = count(found)
        lines.append(f"  {name:{width}}  {len(found)} leaves, {values:,} values, {size:,} bytes")
    return lines


def _start(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _parameters(state: PyTree) -> list[str]:
    """How many parameters each network of a state has: what lies under a field `params`."""
    totals: dict[str, int] = {}
    for name, leaf in zip(leaf_names(state), jax.tree.leaves(state), strict=True):
        found = re.match(r"(?:(.*?)\.)?params(?:\.|$)", name)
        if found:
            where = found.group(1) or ""
            totals[where] = totals.get(where, 0) + leaf.size
    return [
        f"  {total:,} parameters" + (f" in {where}" if where else "")
        for where, total in totals.items()
    ]


def _times(num_seeds: int) -> str:
    return f" for each of {num_seeds} seeds" if num_seeds > 1 else ""


def _cost(update: Any, state: PyTree, batch: PyTree) -> str:
    try:
        from parallel.jaxpr import jaxpr_cost, trace
        from parallel.liveness import peak_bytes
    except ImportError:
        return "FLOPs unknown (parallel.jaxpr is not there)"
    program = trace(update, state, batch)
    found = jaxpr_cost(program)
    size = found.argument_bytes + peak_bytes(program)
    return f"{found.flops:.3g} FLOPs a step, {size:.3g} bytes at once"
