"""Reports on run folders: seeds averaged, groups named, tables and figures written."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.report import __main__ as report
from experiments.report import curves, rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval

RUN = "python -m experiments.run --config=nco/tsp:20,cpu --workdir=runs/tsp20"


def write_run(folder: Path, seeds=(0,), steps=40, offset=0.0, results=(), **config):
    folder.mkdir(parents=True)
    first = {"experiment": "toy", "seed": seeds[0], "num_seeds": len(seeds), "steps": 100}
    content = {"digest": "d", "config": {**first, "model": config}}
    (folder / "config.json").write_text(json.dumps(content))
    lines, timing = [], []
    for step in range(10, steps + 1, 10):
        timing.append({"step": step, "seconds": 0.5, "updates": 10, "items": 1000})
        for kind, metric in (("train", "loss"), ("eval", "tour_length")):
            head = {"step": step, "kind": kind, "phase": "train"}
            values = [100.0 / step + offset + seed for seed in seeds]
            if len(seeds) > 1:
                pairs = zip(seeds, values, strict=True)
                lines += [{**head, "seed": seed, metric: value} for seed, value in pairs]
            lines.append({**head, metric: float(np.mean(values))})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (folder / "timing.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in timing))
    if results:
        (folder / "results.json").write_text(json.dumps({"title": "t", "rows": list(results)}))
    return folder


def test_seeds_inside_a_run_and_runs_of_other_seeds_are_averaged_alike(tmp_path):
    together = curves.read_run(write_run(tmp_path / "a", seeds=(0, 1, 2)))
    apart = [curves.read_run(write_run(tmp_path / f"b{seed}", (seed,))) for seed in range(3)]
    found = curves.curve(curves.group_runs([together])[0], "eval", "tour_length")
    other = curves.curve(curves.group_runs(apart)[0], "eval", "tour_length")
    np.testing.assert_array_equal(found.step, [10, 20, 30, 40])
    np.testing.assert_allclose(found.mean, 100 / found.step + 1)
    expected = mean_interval([2.5, 3.5, 4.5])
    assert found.last == pytest.approx(expected)
    for one, two in zip(found, other, strict=True):
        np.testing.assert_array_equal(one, two)


def test_only_steps_that_all_seeds_have_reached_are_averaged(tmp_path):
    runs = [write_run(tmp_path / "a", (0,), steps=40), write_run(tmp_path / "b", (1,), steps=20)]
    group = curves.group_runs([curves.read_run(run) for run in runs])[0]
    assert curves.curve(group, "eval", "tour_length").step.tolist() == [10, 20]
    assert curves.curve(group, "eval", "loss") is None


def test_long_curves_are_averaged_in_bins(tmp_path):
    run = curves.read_run(write_run(tmp_path / "a", steps=1000))
    found = curves.curve(curves.group_runs([run])[0], "train", "loss", points=7)
    assert len(found.step) == 7
    assert found.step[-1] == 1000
    assert found.mean[-1] == pytest.approx(np.mean([100 / s for s in range(860, 1001, 10)]), 1e-3)


def test_groups_are_called_by_what_differs(tmp_path):
    folders = [write_run(tmp_path / str(size), (size,), hidden=size) for size in (8, 16)]
    folders.append(write_run(tmp_path / "again", (3,), hidden=8))
    groups = curves.group_runs([curves.read_run(folder) for folder in folders])
    assert [group.label for group in groups] == ["hidden=8", "hidden=16"]
    assert [len(group.runs) for group in groups] == [2, 1]
    assert curves.group_runs([curves.read_run(folders[1])])[0].label == "16"


def test_a_report_has_tables_and_figures(tmp_path, capsys):
    of_run = rows.complete({"name": "greedy", "metric": "gap", "value": 2.0}, {"command": RUN})
    runs = [
        write_run(tmp_path / "a", (0, 1), steps=100, results=[of_run], hidden=8),
        write_run(tmp_path / "b", (0, 1), offset=1.0, hidden=16),
    ]
    assert report.main([str(run) for run in runs]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in paths] == ["report.md", "eval.png", "train.png"]
    assert all(path.parent == tmp_path / "report" for path in paths)
    text = paths[0].read_text()
    assert "| hidden=8 | `../a` | 0, 1 | 100 | 5 s | 2,000 |" in text
    assert "| hidden=16 | `../b` | 0, 1 | 40 of 100 | 2 s | 2,000 |" in text
    assert "| hidden=8 | 100 | 2 | 1.5 ± 6.4 |" in text
    assert "| greedy | gap | 2 | 1 seed |" in text
    assert "![Evaluation](eval.png)" in text
    for path in paths[1:]:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
    assert len(list((tmp_path / "report").iterdir())) == 3


def test_one_run_of_one_step_is_reported_in_its_folder(tmp_path, capsys):
    run = write_run(tmp_path / "a", steps=10)
    assert report.main([str(run)]) == 0
    assert str(run / "report" / "report.md") in capsys.readouterr().out
    assert report.main([str(run), "--no_figures", "--out", str(tmp_path / "o")]) == 0
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["report.md"]


def test_a_torn_last_line_is_left_out(tmp_path):
    run = write_run(tmp_path / "a")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 50, "ki')
    assert curves.read_run(run).records[-1]["step"] == 40


def test_what_is_no_run_is_named(tmp_path, capsys):
    assert report.main([str(tmp_path / "none")]) == 2
    assert "expected a run's folder, with config.json" in capsys.readouterr().err
    run = write_run(tmp_path / "a")
    (run / "metrics.jsonl").write_text("")
    assert report.main([str(run)]) == 2
    assert "nothing has been recorded" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["runs/a", "--tables"], ["runs/a", "--check"]])
def test_the_command_line_wants_runs_or_tables(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        report.main(arguments)
    assert stop.value.code == 2
    assert "--" in capsys.readouterr().err


def test_the_runner_and_the_report_agree(tmp_path):
    """The lines that the runner writes are the lines that are read here."""
    from experiments.runner import metrics

    folder = write_run(tmp_path / "a", steps=10)
    values = {"loss": np.array([1.0, 3.0])}
    lines = metrics.records(20, "train", "train", values, [4, 5])
    with (folder / "metrics.jsonl").open("w") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
    found = curves.curve(curves.group_runs([curves.read_run(folder)])[0], "train", "loss")
    assert (found.step.tolist(), found.mean.tolist(), found.seeds) == ([20], [2.0], 2)


def test_result_rows_of_runs_are_recorded_as_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    row = rows.complete(
        {"name": "tsp20 greedy", "metric": "tour_length", "value": 4.0},
        {"command": RUN, "machine": "CPU", "commit": "", "seconds": 1.0},
    )
    run, empty = write_run(tmp_path / "a", results=[row]), write_run(tmp_path / "b")
    assert report.main([str(run), "--record", "nco/demo"]) == 2
    assert "expected --title" in capsys.readouterr().err
    assert report.main([str(empty), "--record", "nco/demo", "--title", "Demo"]) == 2
    assert "expected a finished run" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
    assert report.main([str(run), "--record", "nco/demo", "--title", "Demo"]) == 0
    assert report.main([str(run), "--record", "nco/demo"]) == 0
    table = results_table.read_table(tmp_path / "results/nco/demo.json")
    assert (table.title, [each["value"] for each in table.rows]) == ("Demo", [4.0])


def test_a_curve_that_two_metrics_share_is_drawn_once(tmp_path, monkeypatch):
    run = write_run(tmp_path / "a")
    with (run / "metrics.jsonl").open("a") as file:
        for step in range(10, 41, 10):
            more = {"baseline": 100.0 / step * (1 + 1e-7), "entropy": 1.0}
            file.write(json.dumps({"step": step, "kind": "train", "phase": "train", **more}) + "\n")
    drawn = {}
    monkeypatch.setattr(
        report.figures, "learning_curves", lambda path, panels, **_: drawn.update({path: panels})
    )
    report.write_report([run])
    assert [list(panels) for panels in drawn.values()] == [
        ["tour_length"],
        ["loss and baseline", "entropy"],
    ]
