"""`make test ROOM=…` tests a room by its folders."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STANDS_ON = {"tests/house", "nco/policy_gradient.py", "tests/nco/test_policy_gradient.py"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def selection(room: str, target: str = "test") -> set[str]:
    """What pytest would be told."""
    done = make(room, target)
    assert done.returncode == 0, done.stderr
    (line,) = (
        line for line in done.stdout.replace("\\\n", " ").splitlines() if "-m pytest" in line
    )
    return set(line.replace("'", "").split("slow", 1)[1].strip('" ').split())


def make(room: str, target: str) -> subprocess.CompletedProcess[str]:
    # What an outer `make test ROOM=…` gives to all that it starts is not for this one.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    clean.pop("ROOM", None)
    clean.pop("PYTEST", None)
    words = ["make", "-n", target, f"ROOM={room}"]
    return subprocess.run(words, cwd=ROOT, env=clean, capture_output=True, text=True)


@pytest.mark.parametrize("target", ["test", "test-slow"])
@pytest.mark.parametrize("room", ["nco", "mpl", "search", "parallel", "placement", "enas"])
def test_a_room_is_its_library_its_glue_and_its_configs(room, target):
    found = selection(room, target)
    folders = {room, f"tests/{room}", f"experiments/{room}", f"tests/experiments/{room}"}
    assert {folder for folder in folders if (ROOT / folder).exists()} <= found
    for path, test in (name.split("::") for name in found if "::" in name):
        # pytest runs nothing at all where it does not know one.
        assert f"def {test.partition('[')[0]}(" in (ROOT / path).read_text(), test
    configs = [
        f"tests/experiments/runner/test_contract.py::test_configs[{room}/{path.stem}]"
        for path in (ROOT / "experiments" / "configs" / room).glob("*.py")
        if path.stem != "__init__"
    ]
    assert set(configs) <= found
    assert "tests/house" in found
    assert room == "nco" or found >= STANDS_ON
    others = {"nco", "mpl", "search"} - {room}
    assert not found & {folder for other in others for folder in (other, f"tests/{other}")}


def test_experiments_are_all_but_the_glue_of_rooms():
    found = selection("experiments")
    assert found >= {"experiments", "tests/experiments", *STANDS_ON}
    ignored = {word.removeprefix("--ignore=") for word in found if word.startswith("--ignore=")}
    assert ignored >= {"tests/experiments/nco", "experiments/nco", "tests/experiments/search"}
    for wing in ("runner", "report", "bench", "data", "configs"):
        assert not ignored & {f"experiments/{wing}", f"tests/experiments/{wing}"}


def test_a_wing_is_tested_by_its_name():
    assert selection("runner") >= {"experiments/runner", "tests/experiments/runner"}


@pytest.mark.parametrize("room", ["nowhere", "nco mpl"])
def test_an_unknown_room_is_one_line(room):
    done = make(room, "test")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"ROOM={room}: expected one room" in line
