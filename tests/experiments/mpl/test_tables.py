"""The tables of chapter 5: their runs, their rows, and the figures made from them."""

import json

import numpy as np
import pytest

from experiments.mpl import figures as mpl_figures
from experiments.mpl import tables as mpl_tables
from experiments.mpl.tables import TABLES
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.runner import config as configs


def listed(capsys, *words):
    assert mpl_tables.main([*words, "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(line.split(": ", 1) for line in lines)


def loaded(command):
    words = command.split()
    pairs = [word.removeprefix("--config.").split("=") for word in words if "--config." in word]
    (name,) = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    return configs.load(name, pairs)


def test_a_run_that_several_tables_need_is_made_once(capsys):
    both = listed(capsys, "ssl", "teachers")
    assert list(both)[:5] == ["supervised", "pseudo_labels", "uda", "fixmatch", "mpl_uda"]
    assert set(both) == set(listed(capsys, "ssl")) | set(listed(capsys, "teachers"))
    everything = listed(capsys, "all")
    assert set(mpl_tables.JOBS) | set(mpl_tables.of_labels(1500)[0]) == set(everything)


def test_networks_have_equal_updates_and_the_rows_differ_as_they_say(capsys):
    runs = {name: loaded(line) for name, line in listed(capsys, "all", "--updates", "700").items()}
    for name, config in runs.items():
        assert config.steps - config.stages.teacher - config.stages.finetune == 700, name
        assert config.stages.teacher in (0, 700)
        assert config.batch_size == runs["uda"].batch_size
        assert config.num_seeds == 5
    assert runs["mpl_pseudo_labels"].stages.teacher == 700
    same = runs["mpl_same"]
    assert same.data.same
    assert (same.augment.num_ops, same.meta.teacher) == (0, "supervised")
    assert runs["smoothed"].smoothing == 0.1
    # Reduced MPL and its control differ in the teacher alone.
    reduced, control = (runs[name].to_dict() for name in ("reduced", "noisy_student"))
    assert {key for key in reduced if reduced[key] != control[key]} == {"method"}
    # A teacher learns with its student's feedback what it learns without.
    for plain, taught in (("supervised", "mpl_supervised"), ("mixup", "mpl_mixup")):
        assert runs[plain].augment.labelled == runs[taught].augment.labelled


def test_labels_are_shares_of_the_images():
    jobs, cells = mpl_tables.of_labels(1500)
    assert len(jobs) == len(cells) == 15
    assert jobs["labels_mpl-10"].changes["data.labelled"] == 150
    assert jobs["labels_mpl-100"].changes == {"data.all_labels": True}


def test_references_are_the_printed_ones():
    printed = {
        (table, name): cell.printed
        for table, cells in TABLES.items()
        for name, cell in cells.items()
    }
    assert printed[("ssl", "mpl_uda")] == 96.11
    assert printed[("ssl", "uda")] == 94.53
    assert printed[("regularisation", "mpl")] == 83.71
    assert printed[("teachers", "randaugment+mpl")] == 87.55
    assert printed[("reduced", "noisy_student")] == 98.22
    assert all(cell.source for cells in TABLES.values() for cell in cells.values() if cell.printed)


def test_rows_come_from_runs(tmp_path, monkeypatch):
    """Two rows of figure 5.3 from one run, before and after finetuning, and a picture of them."""
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(mpl_tables, "_pinned", lambda core, jobs: ["echo"])  # runs nothing
    runs = tmp_path / "runs"
    rng = np.random.default_rng(0)
    for cell in TABLES["components"].values():
        folder = runs / cell.job
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for place, name in enumerate((f"{cell.job}-mpl", f"{cell.job}-its_teacher", cell.job)):
            value = 80.0 + place + rng.uniform()
            row = result_rows.row(
                name, "accuracy", value, unit="seed", command="python -m experiments.run", n=5
            )
            rows.append(row)
        (folder / "results.json").write_text(json.dumps({"title": "t", "rows": rows}))
    assert mpl_tables.main(["components", "--runs", str(runs)]) == 0
    path = tmp_path / "results" / "mpl" / "components.json"
    found = {row["name"]: row for row in results_table.read_table(path).rows}
    assert list(found) == sorted(TABLES["components"])
    assert found["uda+mpl+finetune"]["value"] > found["uda+mpl"]["value"] + 1.0
    assert found["uda"]["command"].startswith("python -m experiments.mpl.tables components")
    picture = tmp_path / "bars.png"
    assert mpl_figures.main(["components", "--out", str(picture)]) == 0
    assert picture.stat().st_size > 10_000


def test_a_failed_run_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mpl_tables, "_pinned", lambda core, jobs: ["false"])
    assert mpl_tables.main(["regularisation", "--runs", str(tmp_path), "--dry_run"]) == 1
    said = capsys.readouterr().out
    assert all(f"{job}: failed" in said for job in ("weak", "smoothed", "mpl_same"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["ssl", "--seeds", "0"], "--seeds"),
        (["nothing"], "tables"),
        (["ssl", "--updates", "3"], "--updates"),
    ],
)
def test_command_refuses(words, named, capsys):
    with pytest.raises(SystemExit) as stopped:
        mpl_tables.main(words)
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err


def test_figures_say_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path)
    assert mpl_figures.main(["labels"]) == 2
    assert "labels.json" in capsys.readouterr().err
    assert mpl_figures.main(["training", "--runs", str(tmp_path / "none")]) == 2
    with pytest.raises(SystemExit):
        mpl_figures.main(["labels", "--runs", str(tmp_path)])
