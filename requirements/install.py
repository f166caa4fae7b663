"""Build a virtual environment from a lock, and move it into place when it is whole.

    python3 requirements/install.py LOCK DIRECTORY [--first REQUIREMENT] [--editable]

`uv` is used where it is there and works, `venv` and `pip` otherwise. The environment grows under
a temporary name, so that an interrupted run leaves the one before untouched and the next run
starts afresh; two runs at once wait for each other. `DIRECTORY/stamp` is written last and holds a
digest of what was installed: where it is already right, nothing is done.

Only the standard library is used, by the Python that the environment is made for.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = "stamp"


def digest(lock: Path, first: Sequence[str], editable: bool) -> str:
    """Hex digest of all that decides what an environment holds.

    Of pyproject.toml only the parts that an installer reads count, so that a change to a linter's
    options rebuilds nothing.
    """
    parts: list[object] = [lock.read_text(), list(first)]
    if editable:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        parts += [project["build-system"], project["project"], project["tool"]["hatch"]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the kernel's lock on `DIRECTORY.lock`, which even a killed process lets go."""
    with open(directory.with_name(directory.name + ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_current(directory: Path, wanted: str) -> bool:
    """Whether `directory` holds what `wanted` says, and its Python still runs."""
    stamp = directory / STAMP
    if not stamp.is_file() or stamp.read_text() != wanted:
        return False
    return runs([str(directory / "bin" / "python"), "-c", ""])


def runs(command: Sequence[str]) -> bool:
    """Whether a command exists and succeeds; a pyenv shim may exist and fail."""
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def install_with_uv(directory: Path, lock: Path, editable: bool) -> None:
    """Make the environment with uv; `subprocess.CalledProcessError` where that fails."""
    python = str(directory / "bin" / "python")
    install = ["uv", "pip", "install", "--quiet", "--python", python]
    check_call(["uv", "venv", "--quiet", "--python", sys.executable, str(directory)])
    check_call([*install, "--require-hashes", "-r", str(lock)])
    if editable:
        check_call([*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def install_with_pip(directory: Path, lock: Path, first: Sequence[str], editable: bool) -> None:
    """Make the environment with venv and pip; `subprocess.CalledProcessError` where that fails."""
    if importlib.util.find_spec("ensurepip") is None:
        raise SystemExit(missing_ensurepip())
    python = str(directory / "bin" / "python")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--use-pep517",
        "--disable-pip-version-check",
    ]
    check_call([sys.executable, "-m", "venv", str(directory)])
    if first:
        check_call([*install, *first])
    # The lock is complete, so nothing has to be resolved; and what was installed first stays.
    check_call([*install, "--no-deps", "--require-hashes", "-r", str(lock)])
    if editable:
        check_call([*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def missing_ensurepip() -> str:
    """What to tell the user of a Python that came without ensurepip, as Debian's does."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"Python {version} at {sys.executable} has no ensurepip, and uv is not here: install the "
        f"package python{version}-venv (its name on Debian and Ubuntu), then run make again."
    )


def check_call(command: Sequence[str]) -> None:
    """Run a command whose output the user sees."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def relocate(directory: Path, final: Path) -> None:
    """Write the final path where scripts and pyvenv.cfg hold the temporary one.

    Without this `source .venv/bin/activate` and `.venv/bin/pytest` would name a folder that is
    gone after the move.
    """
    for path in [directory / "pyvenv.cfg", *sorted((directory / "bin").iterdir())]:
        if path.is_symlink() or not path.is_file():
            continue
        before = path.read_bytes()
        after = before.replace(os.fsencode(directory), os.fsencode(final))
        if after != before:
            path.write_bytes(after)


def build(directory: Path, lock: Path, first: Sequence[str], editable: bool, use: str) -> str:
    """Make a new environment at `directory`, which is emptied first; the installer's name."""
    if use == "uv" or (use == "auto" and not first and runs(["uv", "--version"])):
        shutil.rmtree(directory, ignore_errors=True)
        try:
            install_with_uv(directory, lock, editable)
            return "uv"
        except subprocess.CalledProcessError:
            if use == "uv":
                raise
            print("uv could not do it; trying venv and pip", file=sys.stderr)
    shutil.rmtree(directory, ignore_errors=True)
    install_with_pip(directory, lock, first, editable)
    return "pip"


def replace(directory: Path, final: Path) -> None:
    """Put `directory` at `final`, in place of what stands there."""
    old = final.with_name(final.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    directory.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and build; exit with a message, not a traceback, where it fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("lock", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--first", action="append", default=[], metavar="REQUIREMENT")
    parser.add_argument("--editable", action="store_true", help="install this project as well")
    parser.add_argument("--installer", choices=["auto", "uv", "pip"], default="auto")
    options = parser.parse_args(arguments)
    final = options.directory.absolute()
    wanted = digest(options.lock, options.first, options.editable)
    with only_one(final):
        if is_current(final, wanted):
            (final / STAMP).touch()
            return
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"Making {options.directory} for Python {version}: a minute or so ...", flush=True)
        begin = time.monotonic()
        # A name of its own: what a killed run's pip is still writing lies elsewhere.
        for left in final.parent.glob(final.name + ".new-*"):
            shutil.rmtree(left, ignore_errors=True)
        new = final.with_name(f"{final.name}.new-{os.getpid()}")
        lock = options.lock.absolute()
        try:
            name = build(new, lock, options.first, options.editable, options.installer)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"This failed, see above: {' '.join(error.cmd)}") from None
        except KeyboardInterrupt:
            raise SystemExit("interrupted; the next run starts again") from None
        relocate(new, final)
        (new / STAMP).write_text(wanted)
        replace(new, final)
        print(
            f"{options.directory} is ready ({name}, {time.monotonic() - begin:.0f} s)", flush=True
        )


if __name__ == "__main__":
    main()
