"""The wheel holds the packages whole, and the project file, the lock and the code agree."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("nco", "placement", "enas", "mpl", "search", "parallel", "experiments")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The project's wheel, built by the environment's own hatchling: offline, not isolated."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    assert path.name == "ncolab-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        yield archive


def tracked(*folders: str) -> set[str]:
    """What git tracks below some folders and is there."""
    command = ["git", "ls-files", "-z", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    modules = {
        path.relative_to(ROOT).as_posix()
        for room in PACKAGES
        for path in (ROOT / room).rglob("*.py")
    }
    assert len(modules) > len(PACKAGES)
    assert (modules | tracked(*PACKAGES)) - set(wheel.namelist()) == set()


def test_the_wheel_holds_nothing_else(wheel):
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert folders == {*PACKAGES, "ncolab-0.1.0.dist-info"}
    assert [name for name in wheel.namelist() if "__pycache__" in name or "cache" in name] == []


def test_the_wheel_says_what_it_is(wheel):
    text = wheel.read("ncolab-0.1.0.dist-info/METADATA").decode()
    metadata = Parser().parsestr(text)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == set(EXTRAS)
    assert "ncolab-0.1.0.dist-info/licenses/LICENSE" in wheel.namelist()


def test_a_room_with_code_is_typed(wheel):
    for room in PACKAGES:
        names = [name for name in wheel.namelist() if name.startswith(room + "/")]
        with_code = [n for n in names if n.endswith(".py") and not n.endswith("__init__.py")]
        assert not with_code or f"{room}/py.typed" in names, room


def test_the_license_is_whole():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def lock(name: str) -> dict[str, str]:
    """Pinned versions of a lock, by name."""
    pins = re.findall(
        r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / name).read_text("utf-8"), re.MULTILINE
    )
    assert len(pins) == len(dict(pins)), "one version of a package, on every platform"
    return dict(pins)


def test_the_lock_serves_the_project_file():
    pins = lock("base.lock")
    wanted = list(PROJECT["project"]["dependencies"]) + PROJECT["build-system"]["requires"]
    for extra in ("demo", "metrics", "data", "test"):
        wanted += EXTRAS[extra]
    for requirement in map(Requirement, wanted):
        name = canonical(requirement.name)
        assert requirement.specifier.contains(pins[name]), f"{requirement}, locked {pins[name]}"


def test_the_lock_holds_the_tested_jax():
    pins = lock("base.lock")
    for constraint in map(Requirement, PROJECT["tool"]["uv"]["constraint-dependencies"]):
        assert constraint.specifier.contains(pins[constraint.name])


def test_every_pin_has_a_hash():
    for name in ("base.lock", "peers.lock"):
        entries = re.split(
            r"^(?=\S)", (ROOT / "requirements" / name).read_text("utf-8"), flags=re.MULTILINE
        )
        assert [entry for entry in entries if entry and "--hash=sha256:" not in entry] == []


def test_peers_ask_for_no_cuda_and_base_for_no_torch():
    peers, base = lock("peers.lock"), lock("base.lock")
    assert "rl4co" in peers
    assert [name for name in peers if re.match("nvidia|cuda|triton|torch$", name)] == []
    assert [name for name in base if re.match("nvidia|cuda|triton|torch", name)] == []


def canonical(name: str) -> str:
    """A distribution's name as locks and indices write it."""
    return re.sub("[-_.]+", "-", name).lower()


def third_party(*folders: str) -> dict[str, str]:
    """Top-level modules from other projects, each with a file that imports it."""
    found = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            found |= {name.split(".")[0]: path.relative_to(ROOT).as_posix() for name in names}
    own = {*PACKAGES, "tests"}
    return {k: v for k, v in found.items() if k not in own and k not in sys.stdlib_module_names}


def test_what_is_imported_is_declared():
    """Nothing rests on a package that another one happens to bring."""
    wanted = [*PROJECT["project"]["dependencies"], *(r for extra in EXTRAS.values() for r in extra)]
    wanted += re.findall(r"^\w.*", (ROOT / "requirements" / "peers.in").read_text(), re.MULTILINE)
    declared = {canonical(Requirement(text).name) for text in wanted}
    distributions = importlib.metadata.packages_distributions()
    undeclared = {
        module: path
        for module, path in third_party(*PACKAGES, "tests", "requirements").items()
        if not declared & {canonical(name) for name in distributions.get(module, [module])}
    }
    assert undeclared == {}


def test_all_holds_every_extra_of_the_code():
    (everything,) = map(Requirement, EXTRAS["all"])
    apart = {"all", "test", "cuda", "tpu", "search", "control", "ray"}
    assert everything.extras == set(EXTRAS) - apart


def test_an_extra_that_the_code_names_exists():
    named = {
        (extra.strip(), path.relative_to(ROOT).as_posix())
        for folder in (*PACKAGES, "requirements")
        for path in (ROOT / folder).rglob("*.py")
        for extras in re.findall(r"ncolab\[([\w,\s]+)\]", path.read_text("utf-8"))
        for extra in extras.split(",")
    }
    assert [pair for pair in named if pair[0] not in EXTRAS] == []
