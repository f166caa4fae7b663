"""The training loop: it knows phases, steps and boundaries, and no problem.

`chunk` updates are one dispatch. While a dispatch runs, the metrics of the one before are fetched,
which is the only thing the host waits for. At a boundary (every `eval_every` and `checkpoint_every`
steps) it checks that all is finite, evaluates, puts the metrics on disk and saves the state, in
this order; so a checkpoint is good when it is there, and metrics beyond it are dropped when a run
resumes from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import config as configs
from experiments import feed
from experiments.checkpoint import Checkpoints
from experiments.config import ConfigError
from experiments.distributed import Vote, is_first, on_first
from experiments.experiment import Experiment
from experiments.metrics import NullWriter, Progress, Writer
from experiments.nonfinite import NonFiniteError, name_bad_update
from experiments.profile import Profiler
from experiments.programs import Programs, Result, batch_rows, is_host_fed, make_mesh
from experiments.schedule import Dispatch, check_phases, dispatches, is_due, position_at
from experiments.workdir import claim

PyTree = Any
SLOW_DISPATCH = 2.0  # seconds; a signal is heeded between dispatches


class Finished(NamedTuple):
    """How `train` ended."""

    states: list[PyTree]  # one a seed, on one device
    step: int  # updates done
    stopped: bool  # by a signal, before `config.steps`
    programs: Programs
    seconds: float


class Run(NamedTuple):
    """The parts of a run that do not change while it goes."""

    experiment: Experiment
    config: ConfigDict
    programs: Programs
    checkpoints: Checkpoints
    writer: Any

    def phase_name(self, dispatch: Dispatch) -> str:
        return self.experiment.phases[dispatch.phase].name

    def plan(self, start: int) -> Any:
        phases, cycle = self.experiment.phases, self.experiment.cycle
        return dispatches(phases, cycle, self.config.steps, self.config.chunk, start)


def train(
    experiment: Experiment,
    config: ConfigDict,
    workdir: Path | str,
    *,
    devices: list[Any] | None = None,
    quiet: bool = True,
    profile: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Finished:
    """Trains until `config.steps`, from the newest good checkpoint in `workdir` if there is one.

    Args:
      experiment: what to train.
      config: its common fields are read (`experiments.config.check_common`).
      workdir: made if absent; refused if it holds a run of another config or is in use.
      devices: to split batches over; all by default.
      quiet: no progress bar.
      profile: write a trace of a few dispatches to `workdir/profile`.
      stop: asked after each dispatch; where true, saves and returns.

    Returns:
      The last state and how it ended.

    Raises:
      WorkdirError: the workdir cannot be used.
      ConfigError: the phases do not add up, or `steps` is below what is done already.
      NonFiniteError: a metric or state leaf is not finite; the last good checkpoint stays.
    """
    workdir = Path(workdir)
    check_phases(experiment.phases, experiment.cycle, config.steps)
    programs = Programs(
        experiment, make_mesh(devices or jax.devices()), config.num_seeds, config.seed_axis
    )
    digest = configs.digest(config)
    with on_first(claim(workdir, config)):
        checkpoints = Checkpoints(workdir, experiment.headline, config.keep_checkpoints, digest)
        state, start = begin(programs, checkpoints, config)
        seeds = [config.seed + index for index in range(config.num_seeds)]
        items = batch_rows(programs.abstract_batch(0, config.seed))
        writer: Any = NullWriter()
        if is_first():
            progress = Progress(start, config.steps, experiment.headline[0], items, quiet)
            writer = Writer(workdir, start, seeds, progress)
        run = Run(experiment, config, programs, checkpoints, writer)
        profiler = Profiler(workdir / "profile" if profile else None)
        try:
            return _loop(run, state, start, profiler, stop)
        finally:
            profiler.close()
            writer.close()
            checkpoints.close()


def begin(programs: Programs, checkpoints: Checkpoints, config: ConfigDict) -> tuple[PyTree, int]:
    """Returns the newest good checkpoint's state, or the first state, and its step."""
    experiment = programs.experiment
    target = programs.abstract_state()
    if config.num_seeds > 1:
        target = jax.eval_shape(
            lambda state: jax.tree.map(
                lambda leaf: jax.numpy.stack([leaf] * config.num_seeds), state
            ),
            target,
        )
    restored = checkpoints.restore(target)
    if restored is None:
        return programs.init(config.seed), 0
    state, manifest = restored
    step = manifest["step"]
    if step > config.steps:
        raise ConfigError("steps", f"at least {step}, which are done already", config.steps)
    position = _position(experiment, step)
    if manifest["position"] != position:
        raise ConfigError(
            "steps",
            f"phases that stand at {manifest['position']} after {step} steps, as they did before; "
            "phases that depend on steps need steps_in_schedule = True in the config",
            position,
        )
    return programs.place(state), step


def enter(programs: Programs, dispatch: Dispatch, state: PyTree) -> PyTree:
    """Calls the phase's `enter` if the dispatch is the first of its phase.

    A checkpoint at a phase's first step holds the state before `enter`, so a run that resumes there
    calls it again on the same state; one that resumes later has its result in the state and does
    not.
    """
    phase = programs.experiment.phases[dispatch.phase]
    if not dispatch.enters or phase.enter is None:
        return state
    before = programs.seeds(state)
    after = programs.stack([phase.enter(one) for one in before])
    same = jax.tree.structure(state) == jax.tree.structure(after)
    if not same or jax.tree.map(_struct, state) != jax.tree.map(_struct, after):
        raise ValueError(
            f"phase {phase.name!r}: `enter` changed the state's leaves, shapes or dtypes"
        )
    if not np.array_equal(np.asarray(after.step), np.full(np.shape(after.step), dispatch.start)):
        raise ValueError(f"phase {phase.name!r}: `enter` changed state.step")
    return after


def _loop(
    run: Run, state: PyTree, start: int, profiler: Profiler, stop: Callable[[], bool]
) -> Finished:
    config, programs = run.config, run.programs
    vote, began, step, stopping = Vote(programs.mesh), time.monotonic(), start, False
    running: tuple[Dispatch, Result] | None = None  # dispatched, its metrics not yet fetched
    host_fed = any(is_host_fed(phase) for phase in run.experiment.phases)
    feeding = feed.ahead if host_fed else feed.at_once

    def make(dispatch: Dispatch) -> PyTree:
        return programs.host_batches(dispatch.phase, dispatch.start, dispatch.length, config.seed)

    with feeding(make, run.plan(start)) as plan:
        for dispatch, batches in plan:
            if dispatch.enters:
                running = _settle(run, running)
                state = enter(programs, dispatch, state)
            profiler.before_dispatch()
            state, result = programs.run(dispatch.phase, state, batches, dispatch.length)
            _settle(run, running)
            running, step = (dispatch, result), dispatch.stop
            stopping = vote.decide(stop())
            evaluating = is_due(dispatch, config.eval_every, config.steps)
            saving = is_due(dispatch, config.checkpoint_every, config.steps) or stopping
            if evaluating or saving:
                running = _settle(run, running)
                _check_step(state, step)
                metrics = _evaluate(run, dispatch, state) if evaluating else None
                run.writer.sync()
                if saving:
                    position = _position(run.experiment, step)
                    run.checkpoints.save(state, step, metrics, position)
            if stopping:
                break
    stopped = stopping and step < config.steps
    return Finished(programs.seeds(state), step, stopped, programs, time.monotonic() - began)


def _settle(run: Run, running: tuple[Dispatch, Result] | None) -> None:
    """Waits for a dispatch, checks that it is finite, and records its metrics."""
    if running is None:
        return
    dispatch, result = running
    metrics, bad = jax.device_get((result.metrics, result.bad))
    if np.any(bad) or not all(np.all(np.isfinite(value)) for value in metrics.values()):
        raise _explain(run, dispatch)
    means = {
        name: np.mean(value.astype(np.float64), axis=-1).reshape(run.config.num_seeds)
        for name, value in metrics.items()
    }
    run.writer.train(dispatch.stop, run.phase_name(dispatch), means, dispatch.length)


def _evaluate(run: Run, dispatch: Dispatch, state: PyTree) -> dict[str, float]:
    """Evaluates each seed's state, records the result and returns the mean."""
    name, phase = run.experiment.headline[0], run.phase_name(dispatch)
    each = [run.experiment.evaluate(one, dispatch.stop) for one in run.programs.seeds(state)]
    if name not in each[0]:
        raise ValueError(f"headline metric {name!r} is not among the evaluated {sorted(each[0])}")
    values = {key: np.asarray([float(one[key]) for one in each]) for key in each[0]}
    bad = [f"evaluated {key}" for key, value in values.items() if not np.all(np.isfinite(value))]
    if bad:
        raise NonFiniteError(dispatch.stop, bad, phase)
    run.writer.evaluated(dispatch.stop, phase, values)
    return {key: float(np.mean(value)) for key, value in values.items()}


def _explain(run: Run, bad: Dispatch) -> NonFiniteError:
    """Replays from the last good checkpoint to the bad dispatch, and names what broke."""
    run.checkpoints.wait()
    state, step = begin(run.programs, run.checkpoints, run.config)
    for dispatch in run.plan(step):
        state = enter(run.programs, dispatch, state)
        if dispatch == bad:
            break
        batches = run.programs.host_batches(
            dispatch.phase, dispatch.start, dispatch.length, run.config.seed
        )
        state, _ = run.programs.run(dispatch.phase, state, batches, dispatch.length)
    error = name_bad_update(run.programs, bad, state, run.config.seed)
    kept = f"checkpoint {step}" if step else "the start: there is no checkpoint yet"
    error.add_note(f"Last good state: {kept}.")
    return error


def _position(experiment: Experiment, step: int) -> dict[str, Any]:
    index, offset = position_at(experiment.phases, experiment.cycle, step)
    if index == len(experiment.phases):  # the end of a sequence: the end of its last phase
        index, offset = index - 1, experiment.phases[-1].steps
    return {"phase": experiment.phases[index].name, "phase_step": offset}


def _check_step(state: PyTree, step: int) -> None:
    found = np.asarray(jax.device_get(state.step))
    if not np.all(found == step):
        raise ValueError(f"state.step: expected {step} after as many updates, got {found}")


def _struct(leaf: Any) -> tuple[Any, str]:
    return tuple(leaf.shape), str(leaf.dtype)
