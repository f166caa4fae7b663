"""What every learner and every config promises. Each room's tests call these on their own.

check_learner(my_learner, batch)          one call for each learner a room makes
check_config("nco/tsp")                   all of experiments/configs is enrolled by
tests/experiments/runner/test_contract.py
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.registry import MissingDataset
from experiments.run import build, parse
from experiments.runner import config as configs
from experiments.runner.dry_run import describe
from experiments.runner.experiment import Search
from experiments.runner.programs import Programs
from experiments.runner.schedule import check_phases
from parallel.data_parallel import make_mesh
from parallel.trees import leaf_names

PyTree = Any

# Arrays in a state: tracing takes time for each layer, and beyond these many an update takes 3 s
# to half a minute.
LARGE = 250


class Learner(Protocol):
    """The part of `nco.policy_gradient.Learner` that the contract is about."""

    @property
    def init(self) -> Callable[[Any], PyTree]: ...

    @property
    def update(self) -> Callable[[PyTree, PyTree], tuple[PyTree, dict[str, Any]]]: ...


def check_learner(
    learner: Learner, batch: PyTree, *, seed: int = 0, tolerance: float = 1e-4
) -> tuple[PyTree, dict[str, Any]]:
    """Checks what the runner relies on; raises AssertionError with what is broken.

    The state is a pytree of arrays with `.step` (int32 scalar, from 0, one more an update) and
    `.key` (typed, never changed); an update keeps its leaves, shapes and dtypes, is compiled once,
    is deterministic, may be given the state's memory (donation), gives float32 scalar metrics that
    are finite, and can be vmapped over seeds.

    Args:
      learner: has `init` and `update`.
      batch: one batch, as `update` takes it.
      seed: of the key.
      tolerance: by which a vmapped seed may differ from a solo one, relatively and absolutely.

    Returns:
      The state and metrics after two updates, for tests of more than the contract.
    """
    key = jax.random.key(seed)
    start = jax.jit(_strong(learner.init))
    state = start(key)
    _check_state(state, key)
    step, traces = _counted(learner.update)
    update = jax.jit(step)
    first, metrics = update(state, batch)
    _check_kept(state, first)
    second, _ = update(first, batch)
    assert len(traces) == 1, f"the second update was compiled again: {len(traces)} traces"
    _check_metrics(metrics)
    for number, after in ((1, first), (2, second)):
        assert int(after.step) == number, f"state.step: expected {number}, got {after.step}"
        assert _bytes(after.key) == _bytes(key), "state.key: expected the run's key, unchanged"
    again, _ = update(state, batch)
    assert _same(again, first), "the same update twice gave different bits"
    # Given the compiled function, these need not trace the update again.
    _check_donation(update, start(key), batch, first)
    _check_seeds(learner.init, update, batch, seed, first, tolerance)
    return update(first, batch)


def _check_state(state: PyTree, key: Any) -> None:
    for name, leaf in zip(leaf_names(state), jax.tree.leaves(state), strict=True):
        assert isinstance(leaf, jax.Array), f"state leaf {name}: expected an array, got {leaf!r}"
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            assert not np.isnan(np.asarray(leaf, np.float32)).any(), f"state leaf {name} is NaN"
    assert hasattr(state, "step"), "State: expected a field step"
    assert hasattr(state, "key"), "State: expected a field key"
    assert (state.step.shape, state.step.dtype) == ((), jnp.int32), "state.step: expected int32 []"
    assert int(state.step) == 0, f"state.step: expected 0 at first, got {state.step}"
    is_key = jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key)
    assert is_key, "state.key: expected a typed key (jax.random.key)"
    assert _bytes(state.key) == _bytes(key), "state.key: expected the key given to init"
    # Dataclasses that check their fields break here, and so would vmap's in_axes.
    jax.tree.map(lambda _: None, state)


def _check_kept(before: PyTree, after: PyTree) -> None:
    assert jax.tree.structure(before) == jax.tree.structure(after), (
        f"update changed the state's structure from {jax.tree.structure(before)} "
        f"to {jax.tree.structure(after)}"
    )
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    for name, (old, new) in zip(leaf_names(before), pairs, strict=True):
        kept = (old.shape, old.dtype) == (new.shape, new.dtype)
        assert kept, (
            f"update changed state leaf {name} from {old.dtype}{list(old.shape)} "
            f"to {new.dtype}{list(new.shape)}"
        )


def _check_metrics(metrics: dict[str, Any]) -> None:
    assert metrics, "metrics: expected at least one"
    for name, value in metrics.items():
        is_scalar = (value.shape, value.dtype) == ((), jnp.float32)
        assert is_scalar, f"metric {name}: expected float32 [], got {value.dtype}{value.shape}"
        assert np.isfinite(value), f"metric {name}: expected a finite value, got {value}"


def _check_donation(
    update: Callable[..., Any], given: PyTree, batch: PyTree, expected: PyTree
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*donated buffers were not usable.*")
        after, _ = jax.jit(update, donate_argnums=0)(given, batch)
    assert _same(after, expected), "an update that is given the state's memory gave other bits"


def _check_seeds(
    init: Callable[..., Any],
    update: Callable[..., Any],
    batch: PyTree,
    seed: int,
    solo: PyTree,
    tolerance: float,
) -> None:
    keys = jax.vmap(jax.random.key)(jnp.arange(seed, seed + 2))
    states = jax.jit(jax.vmap(_strong(init)))(keys)
    together, _ = jax.jit(jax.vmap(update, in_axes=(0, None)))(states, batch)
    pairs = zip(jax.tree.leaves(together), jax.tree.leaves(solo), strict=True)
    for name, (found, expected) in zip(leaf_names(solo), pairs, strict=True):
        if jnp.issubdtype(expected.dtype, jnp.inexact):
            np.testing.assert_allclose(
                np.asarray(found, np.float32)[0],
                np.asarray(expected, np.float32),
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"vmapped over seeds: state leaf {name}",
            )


def check_config(name: str, *, rest: bool = False) -> None:
    """Checks a config: its docstring, and that each of its arguments builds and fits together.

    The docstring has a line to list it by, a command that runs it, a time and a number to expect.
    `get_config` runs for each argument in the file's `ARGUMENTS` (("",) if there are none), as
    `size[,preset]`; paper scale belongs there. Building makes no more than shapes of it: states,
    batches and one update of each phase are evaluated abstractly. An argument whose data is not on
    this machine is built as far as that; one has to be built whole. Updates take long to trace:
    those of large networks, and of a preset at more than its first size, are left to `rest`; one
    has to be evaluated without.

    Args:
      name: under `experiments/configs`, or a path to a `.py` file.
      rest: evaluates the updates that are left out otherwise, and no others.
    """
    module = configs.load_module(name)
    _check_docstring(name, module.__doc__ or "")
    built: list[str] = []
    whole: list[str] = []
    presets: set[str] = set()
    for argument in getattr(module, "ARGUMENTS", ("",)):
        config = configs.load(f"{name}:{argument}")
        try:
            experiment = build(config)
        except MissingDataset:
            continue
        built.append(argument)
        metric, mode = experiment.headline
        assert mode in ("max", "min"), f"headline {metric}: expected max or min, got {mode}"
        if isinstance(experiment, Search):
            describe(experiment, config, [])  # asks for the first trial
            whole.append(argument)
            continue
        check_phases(experiment.phases, experiment.cycle, config.steps)
        mesh = make_mesh(jax.devices()[:1])
        programs = Programs(experiment, mesh, config.num_seeds, config.seed_axis)
        preset = argument.partition(",")[2]
        is_large = len(jax.tree.leaves(programs.abstract_state())) > LARGE
        if (is_large or preset in presets) == rest:
            programs.check(config.seed)
            whole.append(argument)
        else:
            for index in range(len(experiment.phases)):
                programs.abstract_batch(index, config.seed)
        presets |= set() if is_large else {preset}
    assert built, f"{name}: expected an argument that builds without data of its own"
    assert rest or whole, f"{name}: expected an argument of fewer than {LARGE} arrays"


def _check_docstring(name: str, text: str) -> None:
    first = text.strip().splitlines()[0] if text.strip() else ""
    assert 10 <= len(first) <= 100, f"{name}: expected a first line to list it by, got {first!r}"
    command = re.search(r"python -m experiments\.run ((?:\S+|\\\n)(?:[ \t]+\S+|\s*\\\n)*)", text)
    assert command, f"{name}: expected a command, python -m experiments.run --config=... "
    flags, overrides = parse(command.group(1).replace("\\\n", " ").split())
    configs.load(flags.config, overrides)
    time = r"\d\s*(s|sec|seconds?|min|minutes?|h|hours?|days?)\b"
    assert re.search(time, text), f"{name}: expected the time that it takes, as in 5 min"
    number = re.search(r"[Ee]xpect.*\d", text, re.DOTALL)
    assert number, f"{name}: expected the number to expect"


def _counted(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[None]]:
    traces: list[None] = []

    def traced(*args: Any) -> Any:
        traces.append(None)
        return function(*args)

    return traced, traces


def _strong(init: Callable[[Any], PyTree]) -> Callable[[Any], PyTree]:
    """As the runner starts: weak types of Python scalars made strong."""

    def start(key: Any) -> PyTree:
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), init(key))

    return start


def _bytes(leaf: Any) -> bytes:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()


def _same(one: PyTree, other: PyTree) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(_bytes(left) == _bytes(right) for left, right in pairs)
