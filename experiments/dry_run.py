"""`--dry_run`: what a run would be, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from experiments import config as configs
from experiments.experiment import Experiment, Search
from experiments.programs import Programs, make_mesh
from experiments.schedule import check_phases
from experiments.structure import batch_rows, count, leaf_names

PyTree = Any


def describe(experiment: Experiment | Search, config: Any, devices: Sequence[Any]) -> str:
    """Returns the resolved config, the state's shapes and sizes, the phases and FLOPs an update.

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
    if hasattr(state, "params"):
        lines.append(f"  {count(state.params)[0]:,} parameters")
    order = "in a cycle" if experiment.cycle else "in sequence"
    lines += ["", f"{config.steps:,} steps on {len(devices)} device(s); phases {order}:"]
    for index, phase in enumerate(experiment.phases):
        batch = programs.abstract_batch(index, config.seed)
        lines.append(f"  {phase.name}: {phase.steps:,} steps, {_flops(phase.update, state, batch)}")
        lines += ["  " + line for line in _table(batch, "batch.")]
        lines.append(f"    {batch_rows(batch):,} items an update")
    lines += ["", "dry run: nothing was written"]
    return "\n".join(lines)


def _describe_search(work: Search, config: Any) -> str:
    _, trials = work.searcher.ask(work.searcher.init(config.seed), 1)
    open_trials = "at any time" if work.asynchronous else "a batch"
    metric, mode = work.headline
    lines = _config(config)
    lines += ["", f"{config.steps:,} evaluations, {work.batch_size} {open_trials}"]
    lines += [f"headline: {metric} ({mode})", f"first trial: {trials[0].point}"]
    lines += ["", "dry run: nothing was evaluated or written"]
    return "\n".join(lines)


def _config(config: Any) -> list[str]:
    lines = ["config:"]
    lines += [f"  {key} = {value!r}" for key, value in configs.flatten(config).items()]
    return [*lines, "", f"identity: {configs.digest(config)}"]


def _table(tree: PyTree, prefix: str = "") -> list[str]:
    names = [prefix + name for name in leaf_names(tree)]
    width = max(map(len, names), default=0)
    return [
        f"  {name:{width}}  {leaf.dtype}{list(leaf.shape)}"
        for name, leaf in zip(names, jax.tree.leaves(tree), strict=True)
    ]


def _times(num_seeds: int) -> str:
    return f" for each of {num_seeds} seeds" if num_seeds > 1 else ""


def _flops(update: Any, state: PyTree, batch: PyTree) -> str:
    try:
        from parallel.jaxpr import cost
    except ImportError:
        return "FLOPs unknown (parallel.jaxpr is not there)"
    return f"{cost(update, state, batch).flops:.3g} FLOPs a step"
