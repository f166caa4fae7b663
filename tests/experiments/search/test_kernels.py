"""The benchmark of search: every kernel's name, precision and count; what searches cost."""

import json

import numpy as np

from experiments.bench import __main__ as bench
from experiments.bench.kernel import Loaded
from experiments.report import table as results_table
from experiments.search import kernels as bench_search


def test_kernels_of_the_room(capsys):
    assert bench.main(["search", "--list"]) == 0
    names = capsys.readouterr().out.split()
    assert names == [
        "lanas-table", "gp-fit-200", "gp-sample-200", "gp-fit-1000", "gp-sample-1000",
        "overhead-lamcts_turbo", "overhead-lamcts_turbo_fast", "overhead-lanas",
    ]  # fmt: skip


def test_they_run_as_the_searches_do_and_are_counted():
    for kernel in bench_search.kernels(tiny=True):
        loaded = Loaded(kernel)
        loaded.run()
        assert not loaded.cost.unknown, kernel.name
        with loaded._precision():
            result = loaded.compiled(*loaded.arguments)
        first = np.asarray(result[0] if isinstance(result, tuple) else result)
        wanted = np.float64 if kernel.x64 else np.int32
        assert first.dtype == wanted, kernel.name
        assert np.isfinite(first).all()
        if kernel.name == "lanas-table":  # no row twice
            assert first.size == kernel.items
            assert all(len(np.unique(row)) == len(row) for row in first)


def test_what_a_search_costs_is_measured_where_it_is_named(tmp_path, capsys):
    path = tmp_path / "overhead.json"
    path.write_text(json.dumps({"title": "Time outside the objective", "rows": []}))
    words = ["search", "--only", "overhead-lamcts_turbo_fast", "--tiny", "--json", str(path)]
    assert bench.main(words) == 0
    found = results_table.read_table(path)
    assert found.title == "Time outside the objective"
    assert [(row["name"], row["metric"]) for row in found.rows] == [
        (f"lamcts_turbo_fast-{count}", metric)
        for count in (9, 12)
        for metric in ("cpu_ms_per_sample", "ms_per_sample")
    ]
    assert all(row["value"] > 0 and row["command"].endswith(str(path)) for row in found.rows)
    assert "lamcts_turbo_fast-12" in capsys.readouterr().out


def test_recorded_timings_are_of_the_command_that_measures_them():
    found = results_table.read_table(results_table.table_path("search/overhead"))
    (command,) = {row["command"] for row in found.rows}
    assert command.endswith("--only 'overhead-*' --json experiments/results/search/overhead.json")
