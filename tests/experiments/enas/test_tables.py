"""Rows of the tables, from folders of finished runs that are made up here."""

import json

import pytest

from experiments.enas import tables
from experiments.report import sweep

LINES = ("1: a", "1: b", "1: c", "1: d")


def every(folder, valid, test):
    folder.mkdir()
    records = []
    for number, (line, v, t) in enumerate(zip(LINES, valid, test, strict=True)):
        trial = {"id": number, "point": [line, 0], "seed": 0}
        more = {"valid": v, "test": t}
        records += [
            {"kind": "ask", "trials": [trial]},
            {
                "kind": "outcome",
                "id": number,
                "value": -v,
                "status": "ok",
                "note": "",
                "more": more,
            },
            {"kind": "tell", "ids": [number]},
        ]
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "journal.jsonl").write_text(text)
    return folder


def searched(folder, lines, shared):
    for seed, line in enumerate(lines):
        place = folder / f"seed_{seed}"
        place.mkdir(parents=True)
        (place / "architecture.txt").write_text(line + "\n")
        (place / "every.json").write_text(json.dumps(dict(zip(LINES, shared, strict=True))))
        samples = [{"architecture": each, "reward": 1.0} for each in LINES[1:]]
        (place / "derived.json").write_text(json.dumps(samples))
    return folder


@pytest.fixture
def tiny(tmp_path):
    return {
        "tiny-every-0": every(tmp_path / "e0", [4, 3, 2, 1], [4, 3, 2, 1]),
        "tiny-every-1": every(tmp_path / "e1", [4, 3, 2, 1], [4, 3, 1, 2]),
        "tiny-controller": searched(tmp_path / "c", ["1: c", "1: d"], [9, 8, 7, 6]),
        "tiny-untrained": searched(tmp_path / "u", ["1: a", "1: a"], [6, 7, 8, 9]),
    }


def test_errors_of_derived_architectures_are_looked_up(tiny):
    (row,) = tables._control("tiny-controller", tiny)
    assert (row["name"], row["metric"]) == ("tiny-controller", "test_error_percent")
    assert row["value"] == pytest.approx(1.5)  # c and d: both 1.5 in the mean of two trainings
    (row,) = tables._control("tiny-untrained", tiny)
    assert row["value"] == pytest.approx(4.0)


def test_ranks_are_kendalls(tiny):
    rows = {r["name"]: r["value"] for name in tiny for r in tables._ranking(name, tiny)}
    # Of six pairs five are in order, and one has turned; c and d tie in the mean.
    assert rows["trainings"] == pytest.approx(4 / 6)
    assert rows["controller"] == -rows["untrained"]
    assert 0.9 < rows["controller"] < 1.0


def test_training_all_samples_takes_the_best_of_them(tiny):
    rows = {r["name"]: r["value"] for r in tables._ablations("tiny-controller", tiny)}
    assert rows["tiny-controller_all_samples_trained"] == pytest.approx(1.5)


def ended(folder, valid, test):
    folder.mkdir()
    rows = [
        {"name": "macro", "metric": f"{part}_error_percent", "value": value}
        for part, value in (("valid", valid), ("test", test))
    ]
    (folder / "results.json").write_text(json.dumps({"rows": rows}))
    return folder


def test_random_search_takes_the_best_by_validation(tmp_path):
    numbers = iter([(3, 30), (1, 10), (2, 5), (1, 11), (2, 5), (3, 5), (9, 40), (8, 41), (7, 42)])
    names = tables._names("macro", "random")
    folders = {name: ended(tmp_path / name, *next(numbers)) for name in names}
    found = {row["name"]: row["value"] for row in tables._control(names[0], folders)}
    assert found["macro-random"] == pytest.approx((10 + 11 + 42) / 3)
    assert found["macro-one_random"] == pytest.approx((30 + 11 + 40) / 3)
    assert tables._control(names[0], {names[0]: folders[names[0]]}) == []


def test_neighbours_are_compared_with_what_they_are_of(tmp_path):
    folders = {}
    for seed in range(tables.SEEDS):
        folders[f"macro-controller-{seed}"] = ended(tmp_path / f"c{seed}", 1, 10 + seed)
        folders[f"macro-plain-{seed}"] = ended(tmp_path / f"p{seed}", 1, 12 + seed)
    (row,) = tables._local("macro-plain-0", folders)
    assert row["metric"] == "more_error_percent"
    assert row["value"] == pytest.approx(2.0)
    assert row["reference"] == 1.7


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_cell_loads(name, tmp_path):
    table = sweep.find(name)
    jobs = sweep.plan(table, [], [], tmp_path)
    assert [job.name for job in jobs] == list(table.cells)
    by_name = {job.name: job for job in jobs}
    for job in jobs:
        for other in job.after:
            assert job.config.architecture == str(by_name[other].workdir)


def test_one_cell_brings_what_it_reads(tmp_path):
    jobs = sweep.plan(sweep.find("enas/local"), ["macro-plain-1"], [], tmp_path)
    assert {job.name for job in jobs} >= {"macro-search-1", "macro-controller-1", "macro-plain-1"}
