"""The training loop: it knows phases, steps and boundaries, and no problem.

`chunk` updates are one dispatch. While a dispatch runs, the metrics of the one before are fetched,
which is the only thing the host waits for. At a boundary (every `eval_every` and `checkpoint_every`
steps) it checks that all is finite, evaluates, puts the metrics on disk and saves the state, in
this order; so a checkpoint is good when it is there, and metrics beyond it are dropped when a run
resumes from it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.runner import config as configs
from experiments.runner import feed
from experiments.runner.checkpoint import Checkpoints
from experiments.runner.checks import ConfigError
from experiments.runner.distributed import Vote, is_first, on_first
from experiments.runner.experiment import Experiment, Finished, Phase
from experiments.runner.metrics import NullWriter, Progress, Writer
from experiments.runner.nonfinite import NonFiniteError, name_bad_update
from experiments.runner.profiler import Profiler
from experiments.runner.programs import Programs, Result, is_host_fed
from experiments.runner.schedule import Dispatch, check_phases, dispatches, is_due, position_at
from experiments.runner.workdir import claim, write_config
from parallel.data_parallel import make_mesh
from parallel.trees import batch_rows, check_same_state

PyTree = Any


class Running(NamedTuple):
    """A dispatch under way, its metrics not yet fetched."""

    dispatch: Dispatch
    result: Result
    since: float  # s, monotonic


class Run(NamedTuple):
    """The parts of a run."""

    experiment: Experiment
    config: ConfigDict
    programs: Programs
    checkpoints: Checkpoints
    writer: Writer | NullWriter

    def plan(self, start: int) -> Iterator[Dispatch]:
        phases, cycle = self.experiment.phases, self.experiment.cycle
        return dispatches(phases, cycle, self.config.steps, self.config.chunk, start)

    def host_batches(self, dispatch: Dispatch) -> PyTree:
        return self.programs.host_batches(
            dispatch.phase, dispatch.start, dispatch.length, self.config.seed
        )

    def dispatch(self, dispatch: Dispatch, state: PyTree, batches: PyTree) -> tuple[PyTree, Result]:
        return self.programs.run(dispatch.phase, state, batches, dispatch.length)


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
      config: its common fields are read (`experiments.runner.config.check_common`).
      workdir: made if absent; refused if it holds a run of another config or is in use.
      devices: to split batches over; all by default.
      quiet: no progress bar.
      profile: write a trace of a few dispatches to `workdir/profile`.
      stop: asked after each dispatch; where true, saves and returns.

    Returns:
      The last state and how it ended.

    Raises:
      WorkdirError: the workdir cannot be used; nothing in it has been touched.
      ConfigError: the phases do not add up, or `steps` is below what is done already.
      StateMismatch: a checkpoint holds another state than the experiment's.
      NonFiniteError: a metric or state leaf is not finite; the last good checkpoint stays.
    """
    workdir, seeds = Path(workdir), [config.seed + index for index in range(config.num_seeds)]
    check_phases(experiment.phases, experiment.cycle, config.steps)
    mesh = make_mesh(devices or jax.devices())
    programs = Programs(experiment, mesh, config.num_seeds, config.seed_axis)
    programs.check(config.seed)
    with on_first(claim(workdir, config)):
        checkpoints = Checkpoints(
            workdir, experiment.headline, config.keep_checkpoints, configs.digest(config)
        )
        state, start = begin(programs, checkpoints, config)
        writer: Writer | NullWriter = NullWriter()
        if is_first():
            write_config(workdir, config)
            items = batch_rows(programs.abstract_batch(0, config.seed))
            progress = Progress(
                start, config.steps, experiment.headline[0], items, quiet, "compiling"
            )
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
    """Returns the newest good checkpoint's state, or the first state, and its step.

    Raises:
      ConfigError: the phases stand elsewhere after as many steps as when it was saved.
      StateMismatch: it holds other leaves, shapes or dtypes.
    """
    restored = checkpoints.restore(programs.abstract_states())
    if restored is None:
        return programs.init(config.seed), 0
    state, manifest = restored
    position = _position(programs.experiment, manifest["step"])
    if manifest["position"] != position:
        raise ConfigError(
            "steps",
            f"phases that stand at {manifest['position']} after {manifest['step']} steps, as when "
            "they were done; where phases depend on steps, the config says steps_in_schedule",
            position,
        )
    _compare_machines(manifest)
    return programs.place(state), manifest["step"]


def _compare_machines(manifest: dict[str, Any]) -> None:
    here = f"jax {jax.__version__}, {jax.device_count()} x {jax.devices()[0].device_kind}"
    there = f"jax {manifest['jax']}, {manifest['device_count']} x {manifest['device']}"
    if here != there:
        warnings.warn(
            f"saved with {there}, resumed with {here}: the run may differ in rounding from one "
            "that was never interrupted",
            stacklevel=2,
        )


def enter(programs: Programs, dispatch: Dispatch, state: PyTree) -> PyTree:
    """Returns the state that a phase starts with, of which the dispatch is the first.

    A checkpoint at a phase's first step holds the state before `enter`, so a run that resumes there
    calls it again on the same state; one that resumes later has its result in the state and does
    not.
    """
    phase = programs.experiment.phases[dispatch.phase]
    if phase.enter is None:
        return state
    after = programs.stack([phase.enter(one) for one in programs.seeds(state)])
    _check_entered(phase, state, after, dispatch.start)
    # Copied: one array in two leaves could not be donated.
    return jax.tree.map(jax.numpy.copy, after)


def _check_entered(phase: Phase, before: PyTree, after: PyTree, step: int) -> None:
    """Checks that `enter` kept the state's leaves, shapes and dtypes, its step and its key."""
    where = f"phase {phase.name!r}: enter"
    check_same_state(where, before, after)
    if not np.all(np.asarray(after.step) == step):
        raise ValueError(f"{where}: state.step: expected {step} as before, got {after.step}")
    old, new = (np.asarray(jax.random.key_data(state.key)) for state in (before, after))
    if not np.array_equal(old, new):
        raise ValueError(f"{where}: state.key: expected the same key as before")


def _loop(
    run: Run, state: PyTree, start: int, profiler: Profiler, stop: Callable[[], bool]
) -> Finished:
    steps, vote, step, stopping = run.config.steps, Vote(run.programs.mesh), start, False
    running: Running | None = None
    host_fed = any(is_host_fed(phase) for phase in run.experiment.phases)
    feeding = feed.ahead if host_fed else feed.at_once
    with feeding(run.host_batches, run.plan(start)) as plan:
        for dispatch, batches in plan:
            if dispatch.enters:
                _settle(run, running)
                running = None
                state = enter(run.programs, dispatch, state)
            profiler.before_dispatch()
            programs_before, since = len(run.programs.traces), time.monotonic()
            state, result = run.dispatch(dispatch, state, batches)
            if compiled := len(run.programs.traces) > programs_before:
                since = run.writer.compiled()
            _settle(run, running, timed=not compiled)
            running, step = Running(dispatch, result, since), dispatch.stop

            stopping = vote.decide(stop())
            evaluating = is_due(dispatch, run.config.eval_every, steps)
            saving = is_due(dispatch, run.config.checkpoint_every, steps) or stopping
            if evaluating or saving:
                _settle(run, running)
                running = None
                metrics = _evaluate(run, dispatch, state) if evaluating else None
                run.writer.sync()
                if saving:
                    _save(run, state, step, metrics)
            if stopping:
                break
    return Finished(run.programs.seeds(state), step, stopping)


def _settle(run: Run, running: Running | None, timed: bool = True) -> None:
    """Waits for a dispatch, checks that it is finite, and records its metrics."""
    if running is None:
        return
    dispatch, result, since = running
    metrics, bad = jax.device_get((result.metrics, result.bad))
    if timed:
        run.writer.ready(since, run.config.chunk)
    if np.any(bad) or not all(np.all(np.isfinite(value)) for value in metrics.values()):
        raise _explain(run, dispatch)
    means = {
        name: np.mean(value.astype(np.float64), axis=-1).reshape(run.config.num_seeds)
        for name, value in metrics.items()
    }
    run.writer.train(dispatch.stop, _phase_name(run, dispatch), means, dispatch.length)


def _evaluate(run: Run, dispatch: Dispatch, state: PyTree) -> dict[str, float]:
    """Evaluates each seed's state, records the result and returns the mean."""
    headline, phase = run.experiment.headline[0], _phase_name(run, dispatch)
    begun = time.monotonic()
    each = [run.experiment.evaluate(one, dispatch.stop) for one in run.programs.seeds(state)]
    if headline not in each[0]:
        raise ValueError(f"evaluate: expected the headline {headline!r}, got {sorted(each[0])}")
    values = {name: np.asarray([float(one[name]) for one in each]) for name in each[0]}
    bad = [f"evaluated {name}" for name, value in values.items() if not np.all(np.isfinite(value))]
    if bad:
        raise NonFiniteError(dispatch.stop, bad, phase)
    run.writer.evaluated(dispatch.stop, phase, values, time.monotonic() - begun)
    return {name: float(np.mean(value)) for name, value in values.items()}


def _save(run: Run, state: PyTree, step: int, metrics: dict[str, float] | None) -> None:
    counted = np.asarray(jax.device_get(state.step))
    if not np.all(counted == step):
        raise ValueError(f"state.step: expected {step} after as many updates, got {counted}")
    run.checkpoints.save(state, step, metrics, _position(run.experiment, step))


def _explain(run: Run, bad: Dispatch) -> NonFiniteError:
    """Replays from the last good checkpoint to the bad dispatch, and names what broke."""
    run.checkpoints.wait()
    state, step = begin(run.programs, run.checkpoints, run.config)
    for dispatch in run.plan(step):
        if dispatch.enters:
            state = enter(run.programs, dispatch, state)
        if dispatch == bad:
            break
        state, _ = run.dispatch(dispatch, state, run.host_batches(dispatch))
    error = name_bad_update(run.programs, bad, state, run.config.seed)
    error.add_note(f"The last good checkpoint, of step {step}, is kept." if step else "")
    return error


def _phase_name(run: Run, dispatch: Dispatch) -> str:
    return run.experiment.phases[dispatch.phase].name


def _position(experiment: Experiment, step: int) -> dict[str, Any]:
    index, offset = position_at(experiment.phases, experiment.cycle, step)
    if index == len(experiment.phases):  # the end of a sequence is the end of its last phase
        index, offset = index - 1, experiment.phases[-1].steps
    return {"phase": experiment.phases[index].name, "phase_step": offset}
