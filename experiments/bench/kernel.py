"""What a room gives to the benchmark: programs with arguments, and how many items a run does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from parallel.jaxpr import Cost, cost
from parallel.roofline import Floor, Rates, lower_bound


class PeerTask(NamedTuple):
    """The same work elsewhere.

    Attributes:
        script: file in `experiments/peers/`.
        label: what is compared with, as in `ratio_to_pytorch`.
        request: what the script is asked, without `seconds`.
    """

    script: str
    label: str
    request: Mapping[str, Any]


class Kernel(NamedTuple):
    """Something whose speed matters to a user.

    Attributes:
        name: unique, such as `tsp20-train`.
        items: how many things one run does.
        unit: what they are, in the singular: "instance", "tour".
        program: traced function of the arguments.
        arguments: makes them; called only if the kernel is run.
        carries: the first argument is donated, and replaced by the first of two results: a training
            state.
        peer: the same work elsewhere, if there is such.
        x64: whether it computes in float64; programs are in float32 else.
        settings: batch, sizes and what else a reader has to know.
    """

    name: str
    items: int
    unit: str
    program: Callable[..., Any]
    arguments: Callable[[], tuple]
    carries: bool = False
    peer: PeerTask | None = None
    x64: bool = False
    settings: Mapping[str, Any] = MappingProxyType({})


class Timing(NamedTuple):
    """What no one program is: work of the host, timed by the room itself.

    Attributes:
        name: to choose it by; it is measured only where `--only` asks for it.
        measure: `() -> rows` of its own names and metrics.
    """

    name: str
    measure: Callable[[], list[dict[str, Any]]]


class Loaded:
    """A kernel compiled and warmed, on the first call; `run` then does one dispatch at a time."""

    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.arguments = kernel.arguments()
        donated = (0,) if kernel.carries else ()
        program = jax.jit(kernel.program, donate_argnums=donated)
        with self._precision():
            self.cost: Cost = cost(kernel.program, *self.arguments)
            self.compiled = program.lower(*self.arguments).compile()
        for _ in range(2):
            self.run()

    def run(self) -> None:
        with self._precision():
            results = jax.block_until_ready(self.compiled(*self.arguments))
        if self.kernel.carries:
            self.arguments = (results[0], *self.arguments[1:])

    def _precision(self) -> AbstractContextManager[Any]:
        return jax.enable_x64(True) if self.kernel.x64 else nullcontext()

    def timed(self, seconds: float) -> list[float]:
        """Returns the times of as many runs as fill at least so many seconds; at least one."""
        times: list[float] = []
        while not times or sum(times) < seconds:
            start = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - start)
        return times


class Measured(NamedTuple):
    """A kernel's times.

    Attributes:
        kernel: what was run.
        cost: of one run.
        floor: of one run.
        times: seconds of every run.
        rates: items/s of each round.
        peer_rates: the peer's items/s in each round, which follows ours at once; empty without.
        peer: what the peer says it is.
    """

    kernel: Kernel
    cost: Cost
    floor: Floor
    times: Sequence[float]
    rates: Sequence[float]
    peer_rates: Sequence[float]
    peer: Mapping[str, Any]

    @property
    def median(self) -> float:
        """Seconds of a run."""
        return statistics.median(self.times)

    @property
    def ratios(self) -> list[float]:
        """Our rate over the peer's, round by round."""
        return [ours / theirs for ours, theirs in zip(self.rates, self.peer_rates, strict=True)]


def measure(
    kernel: Kernel, machine: Rates, *, rounds: int, seconds: float, peer: Any = None
) -> Measured:
    """Times a kernel in rounds, in turns with the peer where there is one.

    Args:
        kernel: what to run.
        machine: for the floor.
        rounds: how many.
        seconds: how long each side runs in a round, at least; at least one run.
        peer: a started `experiments.bench.peer.Peer`, or None.
    """
    loaded = Loaded(kernel)
    times: list[float] = []
    rates: list[float] = []
    peer_rates: list[float] = []
    if peer is not None and kernel.peer is not None:
        peer.ask({**kernel.peer.request, "seconds": 0.0})  # builds it and warms it up
    for _ in range(rounds):
        round_times = loaded.timed(seconds)
        times += round_times
        rates.append(kernel.items * len(round_times) / sum(round_times))
        if peer is not None and kernel.peer is not None:
            answer = peer.ask({**kernel.peer.request, "seconds": seconds})
            peer_rates.append(answer["items"] / answer["seconds"])
    floor = lower_bound(loaded.cost, machine)
    about = peer.about if peer_rates else {}
    return Measured(kernel, loaded.cost, floor, times, rates, peer_rates, about)
