"""What git tracks names no registry, no folder of one machine, and no file too many."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, so that this file does not hold what it looks for.
HOSTS = re.compile(
    "|".join(("py" + r"pi\.org", "python" + "hosted", r"registry\." + "npm", r"deb\." + "debian"))
)
FOLDERS = re.compile(
    r"(?<![\w.~-])/(?:" + "|".join(("ro" + "ot", "wo" + "rk", r"home/\w+", r"Users/\w+")) + r")/"
    r"|/tmp/" + r"venv|/opt/" + "wheels"
)


def tracked() -> list[Path]:
    """Every file that git tracks and that is there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    paths = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert len(paths) > 20
    return paths


def holding(pattern: re.Pattern[str]) -> list[str]:
    """Tracked text files in which a pattern occurs, as `path:line: match`."""
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    return found


def test_no_registry_is_named():
    assert holding(HOSTS) == []


def test_no_folder_of_one_machine_is_named():
    assert holding(FOLDERS) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (HOSTS, "https://files.python" + "hosted.org/packages/x.whl"),
        (HOSTS, "--index-url https://py" + "pi.org/simple"),
        (FOLDERS, "see /ro" + "ot/project/x.py"),
        (FOLDERS, "`/home/" + "somebody/data`"),
    ],
)
def test_such_a_name_would_be_found(pattern: re.Pattern[str], text: str):
    assert pattern.search(text)


@pytest.mark.parametrize(
    "text", ["https://example.com/wo" + "rk/x", "runs/ro" + "ot/x", "/tmp/run"]
)
def test_what_only_looks_like_a_folder_is_let_through(text: str):
    assert not FOLDERS.search(text)


def test_locks_hold_no_address():
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    assert [lock.name for lock in locks] == ["base.lock", "peers.lock"]
    for lock in locks:
        text = lock.read_text("utf-8")
        assert "://" not in text
        assert not re.search(r"^\s*(-i|-f|--index|--extra|--find|--trusted)", text, re.MULTILINE)


def test_no_notebook_or_data_file_is_heavy():
    assert [str(path) for path in tracked() if path.stat().st_size > 2 * 2**20] == []


def ignored(path: str) -> bool:
    """Whether git ignores a path."""
    command = ["git", "check-ignore", "--quiet", "--no-index", path]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        "experiments/data/bundled/cities.csv",
        "experiments/results/nco/tsp20.json",
        "experiments/pretrained/tsp20.npz",
        "parallel/build/x.py",
        "nco/runs/x.py",
        "tests/data/x.json",
    ],
)
def test_the_packages_files_are_not_ignored(path: str):
    assert not ignored(path)


@pytest.mark.parametrize(
    "path",
    [
        "runs/demo/table.md",
        ".venv/bin/python",
        ".venv.new-7/x",
        ".venv-peers/x",
        ".venv.lock",
        ".cache/x",
        "nco/__pycache__/x.pyc",
        "dist/ncolab.whl",
    ],
)
def test_what_is_made_is_ignored(path: str):
    assert ignored(path)


def test_continuous_integration_runs_what_a_user_runs():
    script = ROOT / ".ci" / "run"
    assert os.stat(script).st_mode & stat.S_IXUSR
    lines = script.read_text("utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make --no-print-directory test"


def test_every_command_that_is_named_runs_something():
    """`python -m experiments.x` in the text of any file is of a module with a main block."""
    named = {
        line.rpartition(" ")[2] for line in holding(re.compile(r"python -m experiments(?:\.\w+)+"))
    }
    named -= {"experiments.x"}  # in this text
    assert len(named) > 5
    silent = []
    for name in sorted(named):
        path = ROOT / name.replace(".", "/")
        file = path.with_suffix(".py")
        source = file if file.is_file() else path / "__main__.py"
        runs = source.is_file() and (source is not file or "__main__" in file.read_text())
        silent += [] if runs else [name]
    assert silent == []
