"""A search through the runner: killed anywhere it ends as if it had not been."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from experiments.report import __main__ as report
from experiments.runner import config as configs
from experiments.runner import search_journal, search_loop
from experiments.runner.metrics import read
from experiments.runner.search_journal import JOURNAL, JournalError
from experiments.runner.workdir import WorkdirError
from search.interface import Measured
from tests.contract import check_config
from tests.experiments.runner import search_toy

TOY = str(Path(__file__).parent / "configs" / "search_toy.py")


def toy(**overrides):
    return configs.load(TOY, [(key, str(value)) for key, value in overrides.items()])


def search(workdir, stop=lambda: False, **overrides):
    config = toy(**overrides)
    return search_loop.train(search_toy.build(config), config, workdir, stop=stop)


def journal(workdir):
    return (workdir / JOURNAL).read_text().splitlines(keepends=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("whole") / "run"
    search(workdir)
    return workdir


@pytest.mark.parametrize("lines", range(0, 21, 3))
@pytest.mark.parametrize("torn", [0, 9])
def test_cut_anywhere_a_search_ends_the_same(whole, tmp_path, lines, torn):
    kept = journal(whole)
    assert len(kept) == 4 + 12 + 4
    shutil.copytree(whole, tmp_path / "run")
    text = "".join(kept[:lines]) + "".join(kept[lines:])[:torn]
    (tmp_path / "run" / JOURNAL).write_text(text)
    search(tmp_path / "run")
    for name in (JOURNAL, "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    assert not (tmp_path / "run" / "corrupt").exists()


def test_a_line_that_cannot_be_read_costs_what_follows_it(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    lines = journal(whole)
    lines[7] = lines[7].replace('"outcome"', '"outcom')
    (tmp_path / "run" / JOURNAL).write_text("".join(lines))
    with pytest.warns(UserWarning, match="line 8 cannot be read"):
        search(tmp_path / "run")
    assert journal(tmp_path / "run") == journal(whole)
    assert (tmp_path / "run" / "corrupt" / JOURNAL).read_text() == "".join(lines)


def test_a_record_that_makes_no_sense_is_named_with_its_file(tmp_path):
    path = tmp_path / JOURNAL
    path.write_text('{"kind": "ask", "trials": []}\n{"kind": "tell", "ids": [5]}\n')
    with pytest.raises(JournalError, match=rf"{path}: line 2 of the journal: 5"):
        search_journal.recorded(tmp_path)


def test_a_journal_of_another_searcher_is_refused(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    lines = journal(whole)
    lines[0] = lines[0].replace('"seed": ', '"seed": 1')
    (tmp_path / "run" / JOURNAL).write_text("".join(lines))
    with pytest.raises(JournalError, match="the journal has trial"):
        search(tmp_path / "run")
    assert journal(tmp_path / "run") == lines


def test_stopped_and_extended_it_ends_the_same(whole, tmp_path):
    calls = []
    done = search(tmp_path / "run", stop=lambda: calls.append(1) or len(calls) > 5)
    assert done.stopped
    assert 0 < done.step < 12
    assert search(tmp_path / "run").step == 12
    assert journal(tmp_path / "run") == journal(whole)
    assert search(tmp_path / "run", steps=15).step == 15
    assert search(tmp_path / "long", steps=15).step == 15
    assert journal(tmp_path / "run") == journal(tmp_path / "long")
    with pytest.raises(WorkdirError, match="has done 15 steps"):
        search(tmp_path / "run")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_pool_asks_for_what_a_process_asks_for(whole, tmp_path, asynchronous):
    settings = {"pool": True, "broken": True, "pause_s": 0.01, "asynchronous": asynchronous}
    done = search(tmp_path / "pool", **settings)
    alone = search(tmp_path / "alone", broken=True, asynchronous=asynchronous)
    (searched,) = done.states
    statuses = [searched.reports[i].outcome.status for i in range(12)]
    assert statuses == [alone.states[0].reports[i].outcome.status for i in range(12)]
    assert {"ok", "failed"} == set(statuses)
    notes = {each.note for each in searched.reports.values()}
    raised = next(note for note in notes if note.startswith("ValueError"))
    assert raised.startswith("ValueError: one of three (search_toy.py, line ")
    assert raised.endswith(", in objective)")
    if not asynchronous:
        for one, other in zip(searched.trials, alone.states[0].trials, strict=True):
            np.testing.assert_array_equal(one.point, other.point)
    replayed = search_journal.replay(
        search_toy.climber(), 0, search_journal.read(tmp_path / "pool" / JOURNAL)
    )
    assert replayed.told == searched.told


def test_seeds_are_searches_of_their_own(whole, tmp_path):
    search(tmp_path / "run", num_seeds=2)
    assert journal(tmp_path / "run" / "seed_0") == journal(whole)
    assert journal(tmp_path / "run" / "seed_1") != journal(whole)
    lines = read(tmp_path / "run" / "metrics.jsonl")
    assert [line["seed"] for line in lines] == [0] * 12 + [1] * 12
    assert sum(line["updates"] for line in read(tmp_path / "run" / "timing.jsonl")) == 24


def test_a_seed_that_is_over_is_not_thought_through_again(tmp_path, monkeypatch):
    search(tmp_path / "whole", num_seeds=2)
    calls = []
    search(tmp_path / "run", num_seeds=2, stop=lambda: calls.append(1) or len(calls) > 18)
    asked = []
    climber = search_toy.climber()

    def ask(state, n):
        asked.append(state)
        return climber.ask(state, n)

    monkeypatch.setattr(search_toy, "climber", lambda: climber._replace(ask=ask))
    done = search(tmp_path / "run", num_seeds=2)
    assert len(asked) == 1 + 4  # the first batch of the first seed, to know it by
    assert done.states[0].state is None
    for file in (f"seed_0/{JOURNAL}", f"seed_1/{JOURNAL}", "metrics.jsonl"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    lines = journal(tmp_path / "run" / "seed_0")
    for wrong, message in (
        ([lines[0].replace('"seed": ', '"seed": 1'), *lines[1:]], "the journal has trial"),
        ([lines[0], *reversed(lines[1:])], "line 2 of the journal"),
    ):
        (tmp_path / "run" / "seed_0" / JOURNAL).write_text("".join(wrong))
        with pytest.raises(JournalError, match=message):
            search(tmp_path / "run", num_seeds=2)


def test_best_so_far_is_what_is_recorded(whole):
    values = [json.loads(line) for line in journal(whole)]
    told = [line["value"] for line in values if line["kind"] == "outcome"]
    found = [line["best_reward"] for line in read(whole / "metrics.jsonl")]
    np.testing.assert_array_equal(found, np.maximum.accumulate(told))


def test_the_command_line_runs_reports_and_describes_it(tmp_path, capsys):
    words = [f"--config={TOY}", f"--workdir={tmp_path / 'run'}", "--quiet"]
    assert run.main(words) == 0
    shown = capsys.readouterr().out
    assert "step 12/12 (search)  best_reward -0." in shown
    assert "done: 12 steps" in shown
    (row,) = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert row["metric"] == "best_reward"
    assert row["value"] == read(tmp_path / "run" / "metrics.jsonl")[-1]["best_reward"]
    (best,) = json.loads((tmp_path / "run" / "results.json").read_text())["best"]
    assert best["value"] == row["value"] == -float(np.square(best["point"]).sum())
    point = [float(f"{x:.6g}") for x in best["point"]]
    line = f"seed 0: best {row['value']:.6g}, trial {best['trial']}, point {point}"
    assert f"\n{line}\n" in shown
    assert (tmp_path / "run" / "best.png").stat().st_size > 5_000
    assert report.main([str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "report" / "report.md").read_text()
    assert f"\n- `run`, {line}\n" in text
    capsys.readouterr()
    assert run.main([*words, "--dry_run"]) == 0
    assert "first trial" in capsys.readouterr().out


@pytest.mark.parametrize("pool", [False, True])
def test_a_search_whose_first_trials_all_fail_stops_and_goes_on_once_mended(
    whole, tmp_path, capsys, monkeypatch, pool
):
    monkeypatch.setattr(search_toy, "objective", search_toy.undefined)
    words = [f"--config={TOY}", f"--workdir={tmp_path / 'run'}", "--quiet"]
    words += [f"--config.pool={pool}", "--config.batch_size=1"]
    assert run.main(words) == 2
    shown = capsys.readouterr()
    note = "NameError: name 'nowhere' is not defined (search_toy.py, line "
    assert shown.out.count(f"trial 0 failed: {note}") == 1
    assert shown.out.count("failed") == 1
    assert shown.err.startswith("error: the search stops, because its first 5 trials all failed\n")
    assert note in shown.err
    assert "point: [" in shown.err
    assert sum('"outcome"' in line for line in journal(tmp_path / "run")) == 5
    assert run.main(words) == 2  # five more
    assert sum('"outcome"' in line for line in journal(tmp_path / "run")) == 10
    monkeypatch.undo()
    assert run.main(words) == 0
    (best,) = json.loads((tmp_path / "run" / "results.json").read_text())["best"]
    assert best["trial"] >= 10


@pytest.mark.parametrize(
    ("objective", "pool", "words"),
    [
        (lambda *_: 1.0, True, "error: evaluate.kind: objective: expected a function of a module"),
        (lambda *_: Measured(1.0, {"a": {1}}), False, "error: trial 0: Measured: more: expected"),
    ],
)
def test_an_objective_that_the_runner_cannot_use_is_named(
    tmp_path, capsys, monkeypatch, objective, pool, words
):
    monkeypatch.setattr(search_toy, "objective", objective)
    flags = ["--quiet", f"--config.pool={pool}", f"--workdir={tmp_path / 'run'}"]
    assert run.main([f"--config={TOY}", *flags]) == 2
    assert capsys.readouterr().err.startswith(words)


def test_a_finished_search_in_which_all_failed_is_no_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search_toy, "objective", search_toy.undefined)
    words = [f"--config={TOY}", f"--workdir={tmp_path / 'run'}", "--quiet", "--config.steps=2"]
    for first in ("the search stops, because its first 2 trials", "toy: expected a trial that did"):
        assert run.main([*words, "--config.batch_size=1"]) == 2
        said = capsys.readouterr().err
        assert f"error: {first}" in said
        assert "mend the objective and search in another folder" in said


def test_the_toy_keeps_the_contract():
    check_config(TOY)


def test_killed_while_it_evaluates_it_ends_the_same(launcher, tmp_path):
    words = ["--quiet", "--config.pause_s=0.05", f"--config={TOY}", "--config.steps=24"]
    pid = launcher.start([*words, f"--workdir={tmp_path / 'run'}"], tmp_path / "log")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        path = tmp_path / "run" / JOURNAL
        if path.exists() and len(path.read_bytes().splitlines()) > 9:
            break
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    assert launcher.wait(pid) == -signal.SIGKILL
    before = journal(tmp_path / "run")
    assert 9 < len(before) < 40
    search(tmp_path / "run", steps=24, pause_s=0.05)
    search(tmp_path / "whole", steps=24, pause_s=0.05)
    assert journal(tmp_path / "run") == journal(tmp_path / "whole")
