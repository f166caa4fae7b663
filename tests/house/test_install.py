"""The environment's builder: what makes it build, and what an interrupted build leaves."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def install(tmp_path, monkeypatch) -> ModuleType:
    """`requirements/install.py`, loaded to work on a project in `tmp_path`."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "base.lock").write_text("numpy==2.4.6")
    return module


@pytest.fixture
def built(install, tmp_path, monkeypatch) -> list[Path]:
    """Environments asked for; each is a folder with a script that names where it was made."""
    made: list[Path] = []

    def fake(directory: Path, lock: Path, first: list[str], editable: bool, use: str) -> str:
        made.append(directory)
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "bin").mkdir(parents=True)
        (directory / "bin" / "python").symlink_to(sys.executable)
        (directory / "bin" / "pytest").write_text(f"#!{directory}/bin/python\n")
        (directory / "pyvenv.cfg").write_text(f"command = python -m venv {directory}\n")
        return "fake"

    monkeypatch.setattr(install, "build", fake)
    return made


def run(install: ModuleType, folder: Path) -> Path:
    """Build `folder/.venv` from the lock there."""
    install.main([str(folder / "base.lock"), str(folder / ".venv"), "--editable"])
    return folder / ".venv"


def test_an_environment_is_made_once(install, built, tmp_path):
    environment = run(install, tmp_path)
    run(install, tmp_path)
    assert len(built) == 1
    assert built[0] != environment
    assert sorted(path.name for path in tmp_path.glob(".venv*")) == [".venv", ".venv.lock"]


def test_scripts_name_the_final_place(install, built, tmp_path):
    environment = run(install, tmp_path)
    assert (environment / "bin" / "pytest").read_text() == f"#!{environment}/bin/python\n"
    assert (environment / "pyvenv.cfg").read_text() == f"command = python -m venv {environment}\n"


@pytest.mark.parametrize(
    ("file", "before", "after", "times"),
    [
        ("base.lock", "2.4.6", "2.4.7", 2),
        ("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"', 2),
        ("pyproject.toml", '"tqdm>=4.66,<5",', '"tqdm>=4.67,<5",', 2),
        ("pyproject.toml", "line-length = 100", "line-length = 99", 1),
    ],
)
def test_it_is_made_again_when_what_it_holds_changes(
    install, built, tmp_path, file, before, after, times
):
    run(install, tmp_path)
    text = (tmp_path / file).read_text("utf-8")
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after), "utf-8")
    run(install, tmp_path)
    assert len(built) == times


def test_it_is_made_again_when_its_python_is_gone(install, built, tmp_path):
    python = run(install, tmp_path) / "bin" / "python"
    python.unlink()
    python.symlink_to(tmp_path / "nowhere")
    run(install, tmp_path)
    assert len(built) == 2


def test_an_interrupted_build_leaves_the_one_before(install, built, tmp_path, monkeypatch):
    environment = run(install, tmp_path)
    (tmp_path / "base.lock").write_text("numpy==2.4.7")

    def stop(directory: Path, *rest: object) -> str:
        (directory / "half").mkdir(parents=True)
        raise KeyboardInterrupt

    working = install.build
    monkeypatch.setattr(install, "build", stop)
    with pytest.raises(SystemExit, match="starts again"):
        run(install, tmp_path)
    assert (environment / "bin" / "pytest").exists()
    monkeypatch.setattr(install, "build", working)
    run(install, tmp_path)
    assert len(built) == 2
    assert not (environment / "half").exists()


def test_a_failing_command_is_named(install, built, tmp_path, monkeypatch):
    def fail(*rest: object) -> str:
        raise subprocess.CalledProcessError(1, ["pip", "install", "numpy"])

    monkeypatch.setattr(install, "build", fail)
    with pytest.raises(SystemExit, match="see above: pip install numpy"):
        run(install, tmp_path)


def test_uv_that_fails_is_followed_by_pip(install, tmp_path, monkeypatch):
    def fail(*rest: object) -> None:
        raise subprocess.CalledProcessError(2, ["uv"])

    monkeypatch.setattr(install, "runs", lambda command: True)
    monkeypatch.setattr(install, "install_with_uv", fail)
    monkeypatch.setattr(install, "install_with_pip", lambda *rest: None)
    assert install.build(tmp_path / "new", tmp_path / "base.lock", [], True, "auto") == "pip"


def test_a_python_without_ensurepip_names_the_package(install, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    with pytest.raises(SystemExit, match=package):
        install.install_with_pip(tmp_path / "new", tmp_path / "base.lock", [], True)


def test_two_at_once_build_one(tmp_path):
    """The second process waits for the first, and then finds everything done."""
    script = f"""
import importlib.util, pathlib, sys, time
spec = importlib.util.spec_from_file_location("install", {str(ROOT / "requirements/install.py")!r})
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)
def fake(directory, *rest):
    with open({str(tmp_path / "made")!r}, "a") as file:
        file.write("x")
    time.sleep(0.5)
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "python").symlink_to(sys.executable)
    (directory / "pyvenv.cfg").touch()
    return "fake"
install.build = fake
install.main([{str(tmp_path / "base.lock")!r}, {str(tmp_path / ".venv")!r}])
"""
    (tmp_path / "base.lock").write_text("numpy==2.4.6")
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def make(
    folder: Path, *arguments: str, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run make as a user would, whatever make runs this test."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    for outer in ("ROOM", "PYTEST"):  # of a `make test ROOM=…` that runs this
        environment.pop(outer, None)
    environment |= {"PATH": path} if path else {}
    command = [shutil.which("make"), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_make_alone_lists_the_targets():
    listed = make(ROOT).stdout
    for target in ("demo", "test", "test-slow", "lint", "types", "bench", "peers", "clean"):
        assert f"make {target} " in listed


def test_make_demo_runs_the_main_job():
    commands = make(ROOT, "-n", "-o", ".venv/stamp", "demo").stdout
    expected = ".venv/bin/python -m experiments.run --config=nco/tsp:20,demo --workdir=runs/demo"
    expected += " --cpu_devices=2"
    assert commands.strip() == expected


def test_make_takes_the_first_python_that_runs(tmp_path):
    """A version manager's shim may stand for a Python that is not there, or be too old."""
    for name, script in {
        "python3.13": "exit 127",
        "python3.12": f'case "$1" in -c) exec {sys.executable} "$@";; esac; echo "$@" > used',
        "python3.11": "echo wrong > used",
        "python3": "echo wrong > used",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    path = f"{tmp_path}:/usr/bin:/bin"
    done = make(tmp_path, "INSTALLER=pip", ".venv/stamp", path=path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "used").read_text().split() == [
        "requirements/install.py",
        *("--installer", "pip", "--editable", "requirements/base.lock", ".venv"),
    ]


def test_make_without_a_python_says_so(tmp_path):
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    done = make(tmp_path, ".venv/stamp", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode != 0
    assert "no Python >= 3.11 found" in done.stderr
