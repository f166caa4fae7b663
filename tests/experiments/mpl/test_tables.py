"""The tables of chapter 5: their cells, their rows, and the pictures made from them."""

import json

import numpy as np
import pytest

from experiments.mpl.tables import FRACTIONS, PRINTED, TABLES
from experiments.report import __main__ as report
from experiments.report import sweep, table
from experiments.report.rows import complete
from experiments.runner import config as configs
from experiments.runner.workdir import write_config

GROUP = [name for name in TABLES if name not in ("mpl/two_moon", "mpl/ssl_fashion_mnist")]


def configs_of(name):
    """The configs of a table's cells."""
    return {
        cell: configs.load(run.config, [(key, str(value)) for key, value in run.changes.items()])
        for cell, run in TABLES[name].cells.items()
    }


def test_a_run_that_several_tables_need_is_made_once(tmp_path):
    jobs = [job for name in GROUP for job in sweep.plan(TABLES[name], [], [], tmp_path)]
    folders = {job.workdir for job in jobs}
    assert len(folders) < len(jobs)
    by_name = {
        name: {job.name: job.workdir for job in sweep.plan(TABLES[f"mpl/{name}"], [], [], tmp_path)}
        for name in ("ssl", "teachers", "components")
    }
    ssl, teachers, components = by_name.values()
    assert ssl["supervised"] == teachers["randaugment"] == components["randaugment"]
    assert ssl["mpl_uda"] == components["uda+mpl"] == components["uda+mpl+finetune"]
    assert ssl["mpl_uda_no_feedback"] == components["uda+no_feedback"]


@pytest.mark.parametrize("name", [name for name in GROUP if name != "mpl/labels"])
def test_networks_have_equal_updates(name):
    for cell, config in configs_of(name).items():
        assert config.steps - config.stages.teacher - config.stages.finetune == 2000, cell
        assert config.stages.teacher in (0, 2000)
        assert config.batch_size == 32
        assert config.num_seeds == (10 if "no_feedback" in cell else 5)


def test_rows_differ_as_they_say():
    teachers, rest = configs_of("mpl/teachers"), configs_of("mpl/regularisation")
    assert teachers["pseudo_labels+mpl"].stages.teacher == 2000
    same = rest["mpl"]
    assert same.data.same
    assert (same.augment.num_ops, same.meta.teacher) == (0, "supervised")
    assert rest["label_smoothing"].smoothing == 0.1
    # Reduced MPL and its control differ in the teacher alone.
    reduced = configs_of("mpl/reduced")
    one, other = (reduced[name].to_dict() for name in ("reduced_mpl", "noisy_student"))
    assert {key for key in one if one[key] != other[key]} == {"method"}
    # A teacher learns with its student's feedback what it learns without.
    for kind in ("randaugment", "mixup"):
        assert teachers[kind].augment.labelled == teachers[f"{kind}+mpl"].augment.labelled


@pytest.mark.parametrize("name", ["mpl/ssl", "mpl/teachers", "mpl/components"])
def test_the_control_lacks_the_feedback_and_nothing_else(name):
    found = configs_of(name)
    controls = [cell for cell in found if "no_feedback" in cell]
    assert controls
    for cell in controls:
        with_it = cell.replace("_no_feedback", "").replace("+no_feedback", "+mpl")
        assert configs.diff(found[with_it], found[cell]) == [
            "meta.feedback: 'cosine' -> 'none'",
            "num_seeds: 5 -> 10",
        ]


def test_labels_are_shares_of_the_images():
    cells = TABLES["mpl/labels"].cells
    assert len(cells) == 3 * len(FRACTIONS) == 15
    assert cells["mpl-10"].changes["data.labelled"] == 150
    assert cells["mpl-100"].changes["data.all_labels"]
    for cell, config in configs_of("mpl/labels").items():
        assert config.steps - config.stages.finetune == 1000, cell
        assert config.num_seeds == 3


def test_references_are_the_printed_ones():
    assert PRINTED["ssl"]["mpl_uda"].value == 96.11
    assert PRINTED["ssl"]["uda"].value == 94.53
    assert PRINTED["regularisation"]["mpl"].value == 83.71
    assert PRINTED["teachers"]["randaugment+mpl"].value == 87.55
    assert PRINTED["reduced"]["noisy_student"].value == 98.22
    assert all(cell.source for cells in PRINTED.values() for cell in cells.values() if cell.value)


def finished(name, folder):
    """Folders of runs as they are at their end, with made-up accuracies and curves."""
    jobs = sweep.plan(TABLES[name], [], [], folder)
    rng = np.random.default_rng(0)
    for place, job in enumerate(jobs):
        rows = []
        for part in ("x-mpl", "x-its_teacher", "x"):
            value = 80.0 + place + len(rows) + rng.uniform()
            row = {"name": part, "metric": "accuracy", "value": value, "unit": "seed", "n": 5}
            rows.append(complete(row, {"machine": "a CPU", "commit": "", "seconds": 1.0}))
        job.workdir.mkdir(parents=True, exist_ok=True)
        write_config(job.workdir, job.config)
        ended = {"rows": rows, "steps": job.config.steps, "machine": "a CPU", "commit": ""}
        ended |= {"seconds": 1.0, "seeds": [0, 1]}
        (job.workdir / "results.json").write_text(json.dumps(ended))
        said = ("accuracy", "teacher_accuracy", "student_accuracy", "h")
        records = [
            {"step": step, "kind": "train", "phase": "train", "seed": seed}
            | {metric: rng.uniform() for metric in said}
            for step in (20, 40)
            for seed in (0, 1)
        ]
        (job.workdir / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return jobs


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("mpl/ssl", "training.png"),
        ("mpl/components", "components.png"),
        ("mpl/labels", "labels.png"),
    ],
)
def test_rows_come_from_runs_and_pictures_from_rows(name, picture, tmp_path, capsys):
    """Two rows of figure 5.3 from one run, before and after finetuning, and a picture of them."""
    finished(name, tmp_path)
    assert report.main(["--fill", name, "--runs", str(tmp_path)]) == 0
    assert (tmp_path / picture).stat().st_size > 10_000
    stem = name.removeprefix("mpl/")
    found = {row["name"]: row for row in table.read_table(tmp_path / f"{stem}.json").rows}
    assert set(found) == set(TABLES[name].cells)
    assert all(
        row["command"] == f"python -m experiments.report --fill {name} --only {cell}"
        for cell, row in found.items()
    )
    if name == "mpl/components":
        assert found["uda+mpl+finetune"]["value"] > found["uda+mpl"]["value"] + 1.0
    assert picture in capsys.readouterr().out


def test_no_curves_are_drawn_without_their_runs(tmp_path):
    assert TABLES["mpl/ssl"].draw([], {"supervised": tmp_path}, tmp_path) == []


@pytest.mark.parametrize("name", [name for name in TABLES if name != "mpl/ssl_fashion_mnist"])
def test_recorded_rows_have_a_cell_that_measures_them_again(name):
    recorded = table.read_table(table.table_path(name)).rows
    assert recorded
    for row in recorded:
        assert row["name"] in TABLES[name].cells
        assert row["command"] == sweep.recorded_command(name, row["name"])
