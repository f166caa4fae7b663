"""The frame of commands: what is wrong is one line and a code, whatever kind of wrong it is."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from experiments.data.registry import MissingDataset
from experiments.report.rows import TableError
from experiments.run import parse as parse_run
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError, UserError
from experiments.runner.command import (
    BAD_USAGE,
    FAILED,
    INTERRUPTED,
    Parser,
    a_path,
    command,
    command_line,
    natural,
    positive,
    take_overrides,
    whole,
)
from experiments.runner.workdir import WorkdirError
from tests.experiments.runner.launcher import ROOT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), BAD_USAGE),
        (ConfigError("a.b", "an integer", "x"), BAD_USAGE),
        (WorkdirError("x"), BAD_USAGE),
        (TableError("x"), BAD_USAGE),
        (MissingDataset("x"), BAD_USAGE),
        (ImportError('x needs y: pip install "ncolab[demo]"'), BAD_USAGE),
        (ImportError("x needs y: pip install y"), BAD_USAGE),
        (KeyboardInterrupt(), INTERRUPTED),
    ],
)
def test_what_is_wrong_is_one_line(error, code, capsys):
    @command
    def main(words):
        assert words == ["a"]
        raise error

    assert main(["a"]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("error: " if code == BAD_USAGE else "\nstopped")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_cannot_be_used_is_one_line(number, capsys, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # both are put back
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    @command
    def main(words):
        raise OSError(number, os.strerror(number), "runs/x")

    assert main(["a"]) == FAILED
    said = capsys.readouterr().err
    assert said == f"stopped: {os.strerror(number)}: runs/x; what was saved before is kept\n"


def test_any_other_error_of_the_system_is_no_users():
    @command
    def main(words):
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError):
        main(["a"])


def test_paths_know_the_home_folder_and_are_not_empty(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert a_path("~/run") == tmp_path / "run"
    run = ["--config=nco/tsp", "--workdir=~/run"]
    assert parse_run(run)[0].workdir == tmp_path / "run"
    with pytest.raises(SystemExit):
        parse_run([run[0], "--workdir="])
    assert "argument --workdir: expected a path, got ''" in capsys.readouterr().err
    (tmp_path / "c.py").write_text("def get_config():\n    return 1\n")
    with pytest.raises(UserError, match="expected get_config to return a ConfigDict"):
        configs.load("~/c.py")


def test_every_command_has_this_frame():
    found = [
        path
        for path in (ROOT / "experiments").rglob("*.py")
        if path.parent.name != "peers" and 'if __name__ == "__main__":' in path.read_text()
    ]
    assert len(found) > 5
    assert [path for path in found if "\n@command\ndef main(" not in path.read_text()] == []


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("words", [[], ["--help"]], ids=["output", "help"])
def test_a_reader_that_has_gone_is_no_fault(lines, words):
    code = (
        "import sys; from experiments.runner.command import Parser, command\n"
        "@command\ndef main(words):\n"
        f"    Parser('x', 'About.').parse_args(words); print('line\\n' * {lines}); return 0\n"
        "sys.stdin.read(); raise SystemExit(main())"
    )
    buffered = {key: each for key, each in os.environ.items() if key != "PYTHONUNBUFFERED"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, env=buffered, **pipes
    ) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize("error", [ImportError("no module"), RuntimeError("a bug"), ValueError()])
def test_a_fault_of_the_program_is_not_hidden(error):
    @command
    def main(words):
        raise error

    with pytest.raises(type(error)):
        main([])


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (whole, {"1": 1, "12": 12}, ["0", "-1", "1.5", "x", "1_0", ""]),
        (natural, {"0": 0, "4294967295": 2**32 - 1}, ["-1", "4294967296", "x"]),
        (positive, {"0.5": 0.5, "1e3": 1000.0}, ["0", "-1", "inf", "nan", "x"]),
    ],
)
def test_options_have_types_that_say_what_is_expected(kind, good, bad, capsys):
    parser = Parser("experiments.x", "About.")
    parser.add_argument("--n", type=kind)
    for text, value in good.items():
        assert parser.parse_args(["--n", text]).n == value
    for text in bad:
        with pytest.raises(SystemExit) as stop:
            parser.parse_args([f"--n={text}"])
        assert stop.value.code == BAD_USAGE
        assert "error: argument --n: expected a" in capsys.readouterr().err


def test_overrides_are_told_from_flags():
    parser = Parser("experiments.x", None)
    words = ["--a", "--config.x.y=1", "--config.z", "2=3", "--config=nco/tsp"]
    overrides, rest = take_overrides(words, parser)
    assert overrides == [("x.y", "1"), ("z", "2=3")]
    assert rest == ["--a", "--config=nco/tsp"]


def test_a_recorded_command_is_quoted():
    assert command_line("experiments.run", ["--only", "a b"]) == (
        "python -m experiments.run --only 'a b'"
    )
