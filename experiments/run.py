"""Trains, or searches, what a config describes, in a folder of its own.

    python -m experiments.run --config=nco/tsp:20,cpu --workdir=runs/tsp20
    python -m experiments.run --config=nco/tsp:20,cpu --workdir=runs/b --config.model.hidden=64
    python -m experiments.run --config=my_config.py:large --workdir=runs/mine --dry_run
    python -m experiments.run --list

A run that was stopped goes on when the same command is given again; one that is done says so.
`--config.steps=N` extends it.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.runner.command import (
    FAILED,
    INTERRUPTED,
    Parser,
    a_path,
    command,
    command_line,
    take_overrides,
)
from experiments.runner.experiment import Experiment, Search
from experiments.runner.workdir import RESULTS, TIMING, check_identity, read_results, write_results

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("nco", "placement", "enas", "mpl", "search", "parallel", "experiments")


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
    """Splits a command line into flags and the overrides of the config, `--config.x.y=value`."""
    parser = Parser("experiments.run", __doc__, "Try --help, or --list for the configs.")
    add = parser.add_argument
    words = "a name from --list or a path to a .py; ARG is size[,preset]"
    add("--config", metavar="NAME[:ARG]", help=words)
    add("--workdir", metavar="DIR", type=a_path, help="the run's folder: made, or resumed from")
    words = "replaces one value of the config; --dry_run shows the keys"
    add("--config.KEY", metavar="VALUE", help=words)
    add("--list", action="store_true", help="show every config with one line each")
    words = "show config, shapes, parameters, FLOPs; write nothing"
    add("--dry_run", action="store_true", help=words)
    add("--profile", action="store_true", help="write a trace of a few dispatches to DIR/profile")
    add("--quiet", action="store_true", help="a line per evaluation instead of a progress bar")
    add("--devices", metavar="N", type=int, help="use N local devices (default: all)")
    words = "without an accelerator: make the CPU N devices that share each batch (default: 1); "
    words += "small networks train faster with one device a core"
    add("--cpu_devices", metavar="N", type=int, help=words)
    about = "several hosts (or set JAX_COORDINATOR_ADDRESS and the like)"
    add = parser.add_argument_group(about).add_argument
    add("--coordinator", metavar="HOST:PORT", help="address of process 0")
    add("--process_id", metavar="I", type=int, help="this process's number, from 0")
    add("--num_processes", metavar="N", type=int, help="how many processes there are")
    overrides, rest = take_overrides(arguments, parser)
    flags, unknown = parser.parse_known_args(rest)
    if unknown:
        known = [option for option in parser._option_string_actions if option.startswith("--")]
        near = difflib.get_close_matches(unknown[0].split("=")[0], known, n=1)
        parser.error(f"unknown flag {unknown[0]}" + (f"; did you mean {near[0]}?" if near else ""))
    if not flags.list and flags.config is None:
        parser.error("--config is missing")
    if not flags.list and not flags.dry_run and flags.workdir is None:
        parser.error("--workdir is missing")
    return flags, overrides


@command
def main(words: Sequence[str]) -> int:
    """Runs the command line and returns the exit code."""
    flags, overrides = parse(words)
    if flags.list:
        show_list()
        return 0
    check_packages()
    config = configs.load(flags.config, overrides)
    if flags.workdir is not None and not flags.dry_run:
        check_identity(flags.workdir, config)
    try:
        return run(flags, config)
    finally:
        if "jax" in sys.modules:
            from experiments.runner import distributed

            distributed.leave()


def run(flags: argparse.Namespace, config: Any) -> int:
    """Builds what the config names and trains it, or describes it."""
    if config.deterministic:
        set_deterministic()
    from experiments.runner import distributed
    from experiments.runner.checkpoint import CheckpointError
    from experiments.runner.nonfinite import NonFiniteError

    if flags.cpu_devices is not None:
        distributed.make_cpu_devices(flags.cpu_devices)
    distributed.join(flags.coordinator, flags.process_id, flags.num_processes)
    work = build(config)
    if isinstance(work, Experiment) and work.prepare is not None and not flags.dry_run:
        work.prepare()
    devices = distributed.pick_devices(flags.devices)
    if flags.dry_run:
        from experiments.runner.dry_run import describe

        print(describe(work, config, devices))
        return 0
    try:
        return train(flags, config, work, devices)
    except (NonFiniteError, CheckpointError) as error:
        print("\n".join([f"stopped: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return FAILED


def train(flags: argparse.Namespace, config: Any, experiment: Any, devices: list[Any]) -> int:
    """Trains to the end or to a signal, then finishes."""
    from experiments.runner import distributed, loop, search_loop

    signals, work = Signals(), search_loop if isinstance(experiment, Search) else loop
    with signals:
        done = work.train(
            experiment,
            config,
            flags.workdir,
            devices=devices,
            quiet=flags.quiet,
            profile=flags.profile,
            stop=lambda: signals.received is not None,
        )
    if done.stopped:
        if distributed.is_first():
            print(f"saved at step {done.step} of {config.steps}; resume with:\n  {this_command()}")
        return INTERRUPTED if signals.received == signal.SIGINT else 0
    finish(flags, config, experiment, done)
    return 0


def finish(flags: argparse.Namespace, config: Any, experiment: Any, done: Any) -> None:
    """Calls `experiment.finish`, writes results.json and prints what there is now."""
    from experiments.report import rows
    from experiments.runner import distributed, metrics

    path = flags.workdir / RESULTS
    if read_results(path).get("step") != done.step:
        each = []
        for index, state in enumerate(done.states):
            several = len(done.states) > 1
            folder = flags.workdir / f"seed_{config.seed + index}" if several else flags.workdir
            if not distributed.is_first():  # the others compute the same, and keep nothing
                folder = Path(tempfile.mkdtemp())
            folder.mkdir(parents=True, exist_ok=True)
            if experiment.finish is not None and distributed.is_first():
                seed = f" of seed {config.seed + index}" if several else ""
                print(f"finish: result rows{seed}", flush=True)
            each.append([] if experiment.finish is None else experiment.finish(state, folder))
        found = rows.over_seeds(each) if len(each) > 1 else list(each[0])
        known = {
            "command": this_command(),
            "config": flags.config,
            "seeds": [config.seed + index for index in range(config.num_seeds)],
            "machine": rows.here(),
            "commit": rows.checkout(),
        }
        if distributed.is_first():
            timing = metrics.read(flags.workdir / TIMING)
            known["seconds"] = round(sum(record["seconds"] for record in timing), 3)
            found = [rows.complete(row, known) for row in found]
            ended: dict[str, Any] = {"step": done.step, "steps": config.steps}
            if isinstance(experiment, Search):
                from experiments.report import figures
                from experiments.runner import search_loop

                ended["best"] = search_loop.best_points(experiment, done.states)
                if experiment.curve:
                    figures.best_so_far(flags.workdir)
            write_results(path, flags.config, found, **ended, **known)
    if distributed.is_first():
        report(flags.workdir, done.step, path)


def report(workdir: Path, step: int, results: Path) -> None:
    """Prints the result table, if any, and the paths of what was written."""
    from experiments.report import markdown as markdown_tables

    print(f"done: {step} steps")
    known = read_results(results)
    if known.get("rows"):
        print(f"\n{markdown_tables.markdown(known['rows'])}\n")
    for line in markdown_tables.best_points(known.get("best", [])):
        print(line)
    for entry in sorted(workdir.iterdir()):
        if not entry.name.startswith("."):
            print(f"  {entry}")


def build(config: Any) -> Experiment | Search:
    """Imports the glue module that the config names and builds the experiment or search.

    `nco_tsp` names `experiments/nco/tsp.py`; a name with a dot is a module of one's own.

    Raises:
      ConfigError: no such module, or it has no `build`.
    """
    name = config.experiment
    dotted = name if "." in name else f"experiments.{name.replace('_', '.', 1)}"
    try:
        module = importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{dotted}.".startswith(f"{error.name}."):
            raise  # something that the glue itself imports
        files = (ROOT / "experiments").glob("*/*.py")
        glue = sorted(
            f"{path.parent.name}_{path.stem}"
            for path in files
            if "\ndef build(config" in path.read_text()
        )
        wanted = f"a module that can be imported as {dotted}"
        raise ConfigError("experiment", wanted, name, glue) from error
    if not callable(getattr(module, "build", None)):
        raise ConfigError("experiment", "a module that defines build(config)", name)
    built = module.build(config)
    if not isinstance(built, Experiment | Search):
        found = type(built).__name__
        raise TypeError(f"{dotted}.build: expected an Experiment or a Search, got {found}")
    return built


def show_list() -> None:
    """Prints each config's name and one-line description."""
    found = configs.available()
    width = max(map(len, found), default=0)
    for name, description in found.items():
        print(f"{name:{width}}  {description}{configs.choices(name)}")


def check_packages() -> None:
    """Checks that the rooms would be imported from this checkout: their names are generic.

    Raises:
      ConfigError: another package of that name comes first on the path.
    """
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None:
            continue
        places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
        for place in places:
            if not Path(place).resolve().is_relative_to(ROOT / room):
                raise ConfigError(f"package {room!r}", f"the one in {ROOT}", place)


def set_deterministic() -> None:
    """Sets the flags that make GPU kernels repeatable; jax must not have started."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def this_command() -> str:
    """Returns this process's command line, to be given again."""
    return command_line("experiments.run", sys.argv[1:])


class Signals:
    """Notes SIGTERM and SIGINT while active; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        # Not print: it may be what the signal interrupted.
        os.write(2, f"{signal.Signals(number).name}: saving after this dispatch\n".encode())


if __name__ == "__main__":
    raise SystemExit(main())
