"""What the runner runs: an `Experiment` made of `Phase`s, or a `Search`; glue modules build it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from search.interface import FAILURES

PyTree = Any


class Phase(NamedTuple):
    """A stretch of updates of one kind.

    Attributes:
      name: shown in the progress bar and written with every metrics record.
      steps: updates in one visit of this phase.
      update: traced `(state, batch) -> (state, metrics)`; metrics are float32 scalars. It adds one
        to `state.step` and leaves `state.key` alone.
      batch: traced `(data, key, step) -> batch`, with `key` already folded in with the step; or,
        where `data is None`, host `(seed, step) -> NumPy batch`, which returns this process's
        shard. Every leaf with a batch axis has it first. A traced batch that needs no data takes
        `data=()`.
      data: resident arrays, an argument of the compiled step (a closure would bake them into it).
      enter: host `(state) -> state`, deterministic, called where the run stands at the first step
        of this phase (relabel, back-translate). Shapes, dtypes, `step` and `key` stay as they are.
      like: of a host function: shapes and dtypes (`jax.ShapeDtypeStruct`) of a whole batch over all
        hosts, where making one only to look at it would take long, or data that is not here.
    """

    name: str
    steps: int
    update: Callable[..., Any]
    batch: Callable[..., Any]
    data: PyTree = None
    enter: Callable[[PyTree], PyTree] | None = None
    like: PyTree = None


class Experiment(NamedTuple):
    """Compiled work: what `build(config)` returns.

    Attributes:
      init: `(key) -> State`, traceable. `State` is a frozen pytree dataclass that holds everything
        that must survive a kill; `.step` is int32 [], `.key` a typed key that is folded in, never
        split.
      phases: run in sequence (their steps then sum to `config.steps`), or repeated until
        `config.steps` where `cycle` is true.
      cycle: whether to start again with the first phase after the last.
      evaluate: host `(state, step) -> dict[str, float]`, deterministic; never changes the state.
      headline: the evaluated metric that ranks checkpoints, and "max" or "min".
      finish: host `(state, workdir) -> result rows`, after the last step; may write pictures into
        workdir. It can be called again on a finished run.
      prepare: host `()`, before a run and not for `--dry_run`: opens what host batches and
        `evaluate` read, so that what is missing is said before anything is written. They open it
        themselves where it was not called.
    """

    init: Callable[[Any], PyTree]
    phases: tuple[Phase, ...]
    cycle: bool
    evaluate: Callable[[PyTree, int], dict[str, float]]
    headline: tuple[str, str]
    finish: Callable[[PyTree, Any], list[dict[str, Any]]] | None = None
    prepare: Callable[[], None] | None = None


class Search(NamedTuple):
    """Work that the host drives, a trial at a time: what `build(config)` returns instead.

    Its journal is its checkpoint.

    Attributes:
      searcher: a `search.interface.Searcher`.
      objective: `(point, seed) -> float`, or `-> Measured` with more for the journal; maximised;
        pickles where the evaluator is not in process.
      headline: the metric that the values are called by, and "max", or "min" for a cost: then the
        objective returns the cost's negative, and the cost is what is shown.
      evaluator: `(objective) -> Evaluator` of `search.evaluate`; in this process by default.
      budget: evaluations of a seed; `config.steps` by default.
      goal: a reward at which the search of a seed ends before its budget.
      give_up: a search stops where so many of its first trials, or its whole budget, all failed;
        0 to go on whatever happens.
      curve: whether the best value so far is drawn; a measurement of listed points has none.
      of_seed: `(seed) -> objective`, in place of `objective` where each seed has a problem of its
        own.
      batch_size: how many trials are asked for at once.
      asynchronous: ask for one more whenever one has ended, so that `batch_size` trials are always
        open; else a batch is told before the next is asked for, and the sequence does not depend
        on which trial was quicker.
      require: raises ImportError, with what to install, where a package is absent; called before
        anything is written.
      finish: host `(searched, workdir) -> result rows`, where `searched` is a
        `search_loop.Searched`; may write pictures into workdir. It can be called again.
    """

    searcher: Any
    objective: Callable[[Any, int], Any]
    headline: tuple[str, str]
    budget: int | None = None
    goal: float | None = None
    give_up: int = FAILURES
    curve: bool = True
    of_seed: Callable[[int], Callable[[Any, int], Any]] | None = None
    evaluator: Callable[..., Any] | None = None
    batch_size: int = 1
    asynchronous: bool = False
    require: Callable[[], object] | None = None
    finish: Callable[[Any, Any], list[dict[str, Any]]] | None = None


class Finished(NamedTuple):
    """How a loop ended.

    Attributes:
      states: one a seed: of an experiment its state, on one device; of a search, a `Searched` of
        each that has begun.
      step: updates, or evaluations of all seeds, done.
      stopped: by a signal: what follows the last step is left for the next start.
    """

    states: list[Any]
    step: int
    stopped: bool
