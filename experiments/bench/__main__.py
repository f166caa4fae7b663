"""Measures how fast each kernel is, beside this machine's limits and other implementations.

    python -m experiments.bench                        every room
    python -m experiments.bench nco --only 'tsp20-*'   some kernels of a room
    python -m experiments.bench nco --peers            beside PyTorch (`make peers` builds it)
    python -m experiments.bench nco --peers --cores 1  the same with each side on one core
    python -m experiments.bench nco --json experiments/results/nco/speed.json
    python -m experiments.bench search --only 'overhead-*'    work of the host

A room joins with a module `experiments/ROOM/kernels.py`, whose `kernels(tiny=False)` gives a list
of `experiments.bench.kernel.Kernel`, and, where there is work that no one program does,
`timings(tiny=False)` one of `Timing`, which are measured only where `--only` names them.

The machine's own rates are measured first. `floor` is a lower bound on a kernel's time: what its
matrix products, functions (tanh, exp, log, division, square root, random bits), arguments and
results would take at those rates if all else were free. `of floor` is floor over median time; 1 is
perfect (`experiments/bench/floor.py`). GFLOP/s count arithmetic and functions. GB/s count every
operation's operands and results as if nothing were fused or cached, so they may exceed the
machine's own.

Without an accelerator every core is a device of its own and takes a share of the batch, as with
`--cpu_devices` of `experiments.run`.

A peer and the kernel take turns, round by round, both warm and on the same number of threads. The
ratio is the median over rounds, between the least and the largest: with 6 rounds or more, an
interval of at least 95% for the median.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.runner.checks import UserError
from experiments.runner.command import Parser, a_path, command, command_line, whole

if TYPE_CHECKING:
    from experiments.bench.kernel import Kernel, Measured, Timing
    from experiments.bench.peer import Peer
    from parallel.roofline import Rates

ROOT = Path(__file__).resolve().parents[2]
ROOMS = tuple(sorted(path.parent.name for path in ROOT.glob("experiments/*/kernels.py")))
PEERS_PYTHON = Path(".venv-peers/bin/python")
ANY = "*"
TITLE = "Speed, against this machine's floor and against peers"
HEADER = ("kernel", "median", "least", "items/s", "GFLOP/s", "GB/s", "floor", "of floor")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("experiments.bench", __doc__)
    add = parser.add_argument
    add("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)} (default: all)")
    add("--only", default=ANY, metavar="PATTERN", help="kernels whose name matches: 'tsp20-*'")
    add("--repeat", type=whole, default=7, metavar="N", help="rounds (default: %(default)s)")
    words = "least time of a round, for each side (default: %(default)s)"
    add("--seconds", type=float, default=1.0, metavar="S", help=words)
    add("--cores", type=whole, metavar="N", help="use only N cores (Linux; default: all)")
    words = f"run peers with this Python (default: {PEERS_PYTHON} of the checkout)"
    add("--peers", nargs="?", type=a_path, const=ROOT / PEERS_PYTHON, metavar="PYTHON", help=words)
    add("--peer-compile", action="store_true", help="torch.compile the peer: minutes of waiting")
    add("--json", type=a_path, metavar="OUT", help="write result rows; others in the file stay")
    add("--list", action="store_true", help="show the kernels' names and stop")
    add("--tiny", action="store_true", help="toy sizes: tries the machinery, measures nothing")
    flags = parser.parse_args(arguments)
    if flags.json is not None and not flags.json.absolute().parent.is_dir():
        parser.error(f"--json {flags.json}: there is no folder {flags.json.parent}")
    unknown = [room for room in flags.rooms if room not in ROOMS]
    if unknown:
        parser.error(f"unknown room {unknown[0]!r}; rooms with kernels: {', '.join(ROOMS)}")
    if flags.cores is not None:
        if not hasattr(os, "sched_setaffinity"):
            parser.error("--cores: this system cannot pin a process to cores")
        if flags.cores > threads():
            parser.error(f"--cores: expected at most {threads()}, got {flags.cores}")
    return flags


@command
def main(words: Sequence[str]) -> int:
    """Runs the command line and returns the exit code."""
    flags = parse(words)
    if flags.cores is not None:
        # Before jax starts its threads: both it and the peer size their pools by this.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.cores])
    if not flags.list:
        from experiments.runner.distributed import make_cpu_devices

        with contextlib.suppress(RuntimeError):  # jax has started: its devices are what they are
            make_cpu_devices(threads())  # without an accelerator; with one, no difference
    rooms = flags.rooms or list(ROOMS)
    kernels = select(rooms, flags.only, flags.tiny)
    timings = select(rooms, flags.only, flags.tiny, "timings")
    if not kernels and not timings:
        raise UserError(f"--only: no kernel matches {flags.only!r}; try --list")
    if flags.list:
        for each in [*kernels, *timings]:
            print(each.name)
        return 0
    start = time.perf_counter()
    measured = run(kernels, flags) if kernels else []
    timed = [] if flags.only == ANY else time_host(timings)
    if flags.json is not None:
        known = {
            "command": command_line("experiments.bench", words),
            "seconds": round(time.perf_counter() - start, 1),
        }
        write(flags.json, measured, timed, known, flags)
    return 0


def select(rooms: Sequence[str], pattern: str, tiny: bool, kind: str = "kernels") -> list[Any]:
    """Returns the kernels, or the timings, of some rooms whose names match."""
    found: list[Any] = []
    for room in rooms:
        module = importlib.import_module(f"experiments.{room}.kernels")
        found += getattr(module, kind)(tiny=tiny) if hasattr(module, kind) else []
    return [each for each in found if fnmatch.fnmatch(each.name, pattern)]


def time_host(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """Measures what no one program does, and prints its rows."""
    found = list[dict[str, Any]]()
    for timing in timings:
        for row in timing.measure():
            print(f"{row['name']:28}{row['metric']:20}{row['value']:12.4g}", flush=True)
            found.append(row)
    return found


def run(kernels: Sequence[Kernel], flags: argparse.Namespace) -> list[Measured]:
    """Measures the machine, then the kernels, and prints a line for each as it is done."""
    from experiments.bench import floor
    from experiments.report import rows

    print(f"{rows.here()}; threads: {threads()}; {flags.repeat} rounds of {flags.seconds:g} s")
    rates = floor.measure(repeat=2 if flags.tiny else 10, tiny=flags.tiny)
    print(describe_rates(rates), end="\n\n")
    if flags.tiny:
        print("toy sizes: the numbers below show that all runs, and mean nothing\n")
    width = max(len(each.name) for each in kernels)
    print(line(HEADER, width))
    measured = []
    peers: dict[str, Peer | None] = {}
    try:
        for each in kernels:
            done = measure(each, rates, flags, peers)
            measured.append(done)
            print(describe(done, width), flush=True)
    finally:
        for started in peers.values():
            if started is not None:
                started.close()
    return measured


def measure(
    kernel: Kernel, rates: Rates, flags: argparse.Namespace, peers: dict[str, Peer | None]
) -> Measured:
    """Measures a kernel beside its peer; alone, where the peer cannot be had or breaks."""
    from experiments.bench.kernel import measure as in_turns
    from experiments.bench.peer import PeerError

    peer = start_peer(kernel, flags, peers)
    options = {"rounds": flags.repeat, "seconds": flags.seconds}
    try:
        return in_turns(kernel, rates, peer=peer, **options)
    except PeerError as error:
        print(f"  going on without the peer: {error}")
        if peer is not None and kernel.peer is not None:
            peer.close()
            peers[kernel.peer.script] = None
        return in_turns(kernel, rates, **options)


def start_peer(
    kernel: Kernel, flags: argparse.Namespace, peers: dict[str, Peer | None]
) -> Peer | None:
    """Returns the kernel's peer, started once a run; None, with a word, where it cannot be had."""
    from experiments.bench.peer import Peer, PeerError

    if kernel.peer is None or flags.peers is None:
        return None
    script = kernel.peer.script
    if script not in peers:
        options = ("--compile",) if flags.peer_compile else ()
        try:
            peers[script] = Peer(flags.peers, script, threads=threads(), options=options)
            print(f"  peer: {peers[script].about['name']}")  # type: ignore[union-attr]
        except PeerError as error:
            peers[script] = None
            print(f"  going on without the peer: {error}")
            if not flags.peers.exists():
                print("  build its environment with: make peers")
    return peers[script]


def threads() -> int:
    """Returns the number of threads that both sides use: the cores of this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_rates(rates: Rates) -> str:
    functions = ", ".join(f"{name} {1e9 / rate:.2f}" for name, rate in rates.functions.items())
    return (
        f"this machine: matrix product {rates.matrix / 1e9:.0f} GFLOP/s, copy "
        f"{rates.copy / 1e9:.1f} GB/s; nanoseconds an element: {functions}"
    )


def describe(done: Measured, width: int) -> str:
    """Returns a kernel's line of the table, with the peer and what was not counted below it."""
    cost, kernel = done.cost, done.kernel
    cells = (
        kernel.name,
        duration(done.median),
        duration(min(done.times)),
        f"{statistics.median(done.rates):,.0f}",
        f"{(cost.flops + cost.transcendentals) / done.median / 1e9:.2f}",
        f"{(cost.bytes_read + cost.bytes_written) / done.median / 1e9:.2f}",
        duration(done.floor.seconds),
        f"{statistics.median(fractions(done)):.2f}",
    )
    lines = [line(cells, width)]
    if done.peer_rates:
        low, middle, high = spread(done.ratios)
        lines.append(
            f"  {middle:.2f} times {done.peer['name']} ({low:.2f} to {high:.2f} over "
            f"{len(done.ratios)} rounds), which does {statistics.median(done.peer_rates):,.0f}/s"
        )
    if cost.unbounded_loops:
        lines.append(f"  counted once, trips unknown: {', '.join(cost.unbounded_loops)}")
    if cost.unknown:
        lines.append(f"  FLOPs not known: {', '.join(cost.unknown)}")
    return "\n".join(lines)


def line(cells: Sequence[str], width: int) -> str:
    name, *numbers = cells
    return f"{name:{width}}" + "".join(f"{number:>12}" for number in numbers)


def duration(seconds: float) -> str:
    """Returns a time with three digits in the unit that suits it.

    >>> duration(1.84), duration(0.0123), duration(4.56e-5)
    ('1.84 s', '12.3 ms', '45.6 us')
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 0.9995:
            return f"{seconds * factor:#.3g} {unit}".replace(". ", " ")
    return f"{seconds * 1e6:.3g} us"


def fractions(done: Measured) -> list[float]:
    """The floor over the time of a run, in each round."""
    return [done.floor.seconds * rate / done.kernel.items for rate in done.rates]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the least, the median and the largest."""
    return min(values), statistics.median(values), max(values)


def result_rows(done: Measured, suffix: str = "") -> list[dict[str, Any]]:
    """Returns the rows of one kernel: its rate, its part of the floor, and the peer's.

    Args:
      done: what was measured.
      suffix: added to the kernel's name, where the setting is not the usual one.
    """
    kernel = done.kernel
    settings: dict[str, Any] = {
        **kernel.settings,
        "threads": threads(),
        "floor_ms": {part: round(1e3 * value, 4) for part, value in done.floor.parts.items()},
    }

    def row(metric: str, values: Sequence[float], **more: Any) -> dict[str, Any]:
        low, middle, high = spread(values)
        numbers = {"value": middle, "low": low, "high": high, "n": len(values), "unit": "round"}
        named = {"name": kernel.name + suffix, "metric": metric, "config": words_of(settings)}
        return {**named, **numbers, **more}

    found = [
        row(f"{kernel.unit}s_per_second", done.rates),
        row("fraction_of_floor", fractions(done)),
    ]
    if done.peer_rates and kernel.peer is not None:
        label = kernel.peer.label
        both = words_of(settings | {"peer": dict(done.peer)})
        theirs = {"source": done.peer["name"], "config": both}
        found.append(row(f"ratio_to_{label}", done.ratios, **theirs))
        found.append(row(f"{label}_{kernel.unit}s_per_second", done.peer_rates, **theirs))
    return found


def words_of(settings: Mapping[str, Any]) -> str:
    """Returns settings in one line, nested ones by dotted names.

    >>> words_of({"batch": 128, "floor_ms": {"matrix": 1.5}})
    'batch=128 floor_ms.matrix=1.5'
    """
    from experiments.runner.checks import flatten

    return " ".join(f"{name}={value}" for name, value in flatten(settings).items())


def write(
    path: Path,
    measured: Sequence[Measured],
    timed: Sequence[dict[str, Any]],
    known: dict[str, Any],
    flags: argparse.Namespace,
) -> None:
    """Puts the rows into a result file, whose title and other rows stay as they are."""
    from experiments.report import rows
    from experiments.report import table as results_table

    suffix = "" if flags.cores is None else f"-{flags.cores}core"
    known = known | {"machine": rows.here(), "commit": rows.checkout()}
    new = [row for done in measured for row in result_rows(done, suffix)] + [*timed]
    title = results_table.read_table(path).title if path.exists() else TITLE
    results_table.write_table(path, title, [rows.complete(row, known) for row in new])
    print(f"\nwrote {path}")


if __name__ == "__main__":
    sys.exit(main())
