"""Tables filled by runs: what is planned, made once, killed and resumed, and recorded."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.report import __main__ as report
from experiments.report import sweep
from experiments.report.rows import TableError
from experiments.report.sweep import Cell, Table
from experiments.report.table import RESULTS, read_table
from experiments.runner import config as configs
from experiments.runner import search_journal, search_loop
from experiments.runner.checks import ConfigError, UserError
from tests.experiments.runner import search_toy

TOY = "tests/experiments/runner/configs/search_toy.py"
TABLE = Table(
    "Toys",
    {
        "plain": Cell(TOY, {"steps": 6}),
        "batched": Cell(TOY, {"steps": 6, "batch_size": 2}),
        "again": Cell(TOY, {"steps": 6}),
    },
)
FILL = f"""
import sys
from pathlib import Path
from experiments.report import sweep
from experiments.report.sweep import Cell, Table
table = Table("Toys", {{"a": Cell({TOY!r}, {{"pause_s": 0.2}})}})
sweep.find = lambda name: table
folder = Path(sys.argv[1])
jobs = sweep.plan(table, [], [], folder)
print(sweep.fill("toy/toy", jobs, workers=1, path=folder / "toy.json").failed)
"""


@pytest.fixture
def toys(monkeypatch) -> Table:
    monkeypatch.setattr(sweep, "find", lambda name: TABLE)
    return TABLE


def plan(folder: Path, only=(), overrides=()):
    return sweep.plan(TABLE, only, overrides, folder)


def test_cells_that_need_the_same_run_share_its_folder(tmp_path):
    jobs = {job.name: job for job in plan(tmp_path)}
    assert list(jobs) == ["plain", "batched", "again"]
    assert jobs["plain"].workdir == jobs["again"].workdir != jobs["batched"].workdir
    assert jobs["batched"].command == (
        f"python -m experiments.run --config={TOY} --workdir={jobs['batched'].workdir} "
        "--config.steps=6 --config.batch_size=2"
    )


def test_patterns_and_overrides_choose_cells_and_values(tmp_path):
    (job,) = plan(tmp_path, ["b*"], [("seed", "4"), ("steps", "3")])
    assert (job.config.seed, job.config.steps, job.config.batch_size) == (4, 3, 2)
    with pytest.raises(TableError, match="got 'batchd'; did you mean batched"):
        plan(tmp_path, ["batchd"])
    with pytest.raises(ConfigError, match=r"--config.stepps: expected a key.*got 'stepps'"):
        plan(tmp_path, (), [("stepps", "3")])
    with pytest.raises(TableError, match="got 'nco/tps'"):
        sweep.find("nco/tps")


def test_a_table_is_filled_once_and_its_rows_say_how(toys, tmp_path, capsys):
    words = ["--fill", "toy/toy", "--runs", str(tmp_path), "--jobs", "2"]
    assert report.main([*words, "--list"]) == 0
    assert not any(tmp_path.iterdir())
    assert report.main(words) == 0
    rows = {row["name"]: row for row in read_table(tmp_path / "toy.json").rows}
    assert set(rows) == {"plain", "batched", "again"}
    assert rows["plain"]["value"] == rows["again"]["value"]
    assert rows["batched"]["command"] == (
        "python -m experiments.report --fill toy/toy --only batched"
    )
    assert rows["batched"]["config"] == f"{TOY} steps=6 batch_size=2"
    (job,) = plan(tmp_path, ["plain"])
    (found,) = search_journal.recorded(job.workdir)
    assert rows["plain"]["value"] == found.best[-1]
    capsys.readouterr()
    logs = {path: path.read_bytes() for path in tmp_path.glob("*.log")}
    assert len(logs) == 2
    assert report.main([*words, "--only", "plain"]) == 0  # nothing is run again
    assert {path: path.read_bytes() for path in logs} == logs
    assert "done in" not in capsys.readouterr().out


def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    broken = Table("Toys", {"bad": Cell(TOY, {"experiment": "no.glue"}), "good": Cell(TOY)})
    monkeypatch.setattr(sweep, "find", lambda name: broken)
    assert report.main(["--fill", "toy/toy", "--runs", str(tmp_path)]) == 1
    assert "failed: bad: error: experiment: expected a module" in capsys.readouterr().err
    assert [row["name"] for row in read_table(tmp_path / "toy.json").rows] == ["good"]


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
)
def test_a_sweep_that_is_killed_goes_on_where_its_runs_were(tmp_path, number):
    fill = [sys.executable, "-c", FILL, str(tmp_path)]
    process = subprocess.Popen(fill)
    wait_for(tmp_path, lines=8)
    process.send_signal(number)
    process.wait(30)
    wait_until_free(tmp_path)
    journal = next(tmp_path.glob("*/journal.jsonl"))
    assert '"id": 11' not in journal.read_text()  # no run goes on alone
    subprocess.run(fill, check=True)
    config = configs.load(TOY)
    search_loop.train(search_toy.build(config), config, tmp_path / "whole")
    assert journal.read_bytes() == (tmp_path / "whole" / "journal.jsonl").read_bytes()
    (row,) = read_table(tmp_path / "toy.json").rows
    assert row["value"] == search_journal.recorded(tmp_path / "whole")[0].best[-1]


def wait_for(folder: Path, lines: int) -> None:
    for _ in range(600):
        journals = list(folder.glob("*/journal.jsonl"))
        if journals and len(journals[0].read_text().splitlines()) >= lines:
            return
        time.sleep(0.05)
    raise AssertionError("no journal")


def wait_until_free(folder: Path) -> None:
    """A run whose sweep was killed outright ends by itself."""
    import fcntl

    for _ in range(200):
        with next(folder.glob("*/.lock")).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(0.05)
    raise AssertionError("the run goes on alone")


def test_overridden_cells_are_not_recorded(toys, tmp_path):
    with pytest.raises(UserError, match="--record: expected the cells as toy/toy declares them"):
        sweep.check_record("toy/toy", [("steps", "3")])
    words = ["--fill", "toy/toy", "--record", "--config.steps=3", "--runs", str(tmp_path)]
    assert report.main(words) == 2
    assert not any(tmp_path.iterdir())


def test_every_declared_cell_is_a_run_that_can_start(tmp_path):
    tables = sweep.tables()
    assert {name.partition("/")[0] for name in tables} >= {"nco", "mpl", "search"}
    for table in tables.values():
        sweep.plan(table, [], [], tmp_path)  # loads and checks each config


def test_every_recorded_row_is_measured_again_by_a_cell_that_there_is():
    tables, seen = sweep.tables(), 0
    for path in sorted(RESULTS.glob("*/*.json")):
        for row in json.loads(path.read_text())["rows"]:
            words = shlex.split(row["command"])
            if "--fill" not in words:
                assert words[2] in ("experiments.run", "experiments.bench"), row["command"]
                continue
            name, cell = words[words.index("--fill") + 1], words[words.index("--only") + 1]
            assert name == f"{path.parent.name}/{path.stem}", row["command"]
            assert cell in tables[name].cells, row["command"]
            seen += 1
    assert seen > 1000
