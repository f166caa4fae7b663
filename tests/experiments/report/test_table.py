"""Result rows, the files that hold them, and the tables of README files."""

import json
import math
import re

import numpy as np
import pytest

from experiments.report import __main__ as report
from experiments.report import markdown as markdown_tables
from experiments.report import rows
from experiments.report import table as results_table
from experiments.report.interval import Interval, mean_interval
from experiments.report.markdown import format_number, markdown
from experiments.report.rows import TableError

ROOT = report.ROOT
RUN = "python -m experiments.run --config=nco/tsp:20,cpu --workdir=runs/tsp20"


def make(name="greedy", metric="tour_length", value=3.9, **fields):
    known = {"unit": "instance", "command": RUN, "machine": "m", "commit": "c", "seconds": 1.0}
    given = {"name": name, "metric": metric, "value": value} | fields
    made = rows.from_run(rows.complete(given, known))
    rows.check_row(made)
    return made


# --- this checkout ---


def test_every_recorded_table_is_as_agreed():
    for path in sorted(results_table.RESULTS.glob("*/*.json")):
        table = results_table.read_table(path)
        assert path == results_table.table_path(f"{path.parent.name}/{path.stem}")
        assert table.rows, path
        assert table.rows == results_table.in_order(table.rows)


def test_every_table_in_a_readme_is_what_the_results_say():
    stale = markdown_tables.update(ROOT, write=False)
    assert stale == [], "run: python -m experiments.report --tables"


# --- intervals and rows ---


def test_the_interval_is_students():
    values = [1.0, 2.0, 3.0, 4.0]
    # t(0.975, 3) = 3.182446; standard error = sqrt(5/3)/2
    half = 3.182446 * math.sqrt(5 / 3) / 2
    found = mean_interval(values)
    assert found == pytest.approx((2.5, 2.5 - half, 2.5 + half, 4), rel=1e-6)
    assert mean_interval(values, 0.9).high < found.high
    assert mean_interval([7.0]) == Interval(7.0, 7.0, 7.0, 1)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(2000, 4))
    covered = sum(found.low <= 0 <= found.high for found in map(mean_interval, draws))
    assert 0.935 < covered / 2000 < 0.965


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_no_interval_of_nothing(values):
    with pytest.raises(ValueError, match="values: expected finite numbers, at least one"):
        mean_interval(values)
    with pytest.raises(ValueError, match=r"level: .*got 95"):
        mean_interval([1.0], 95)


def test_a_row_of_a_run_has_every_field():
    made = make(value=1.0, low=0.5, high=1.5, n=8)
    assert set(made) == set(rows.FIELDS)
    assert (made["low"], made["high"], made["n"], made["machine"]) == (0.5, 1.5, 8, "m")
    alone = make(value=2.0)
    assert (alone["low"], alone["high"], alone["n"], alone["seeds"]) == (2.0, 2.0, 1, [])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("value", math.nan, "value: expected a finite number; got nan"),
        ("value", True, "value: expected a finite number; got True"),
        ("low", 4.0, "low: expected at most the value, 3.9; got 4.0"),
        ("high", 3.0, "high: expected at least the value, 3.9; got 3.0"),
        ("n", 0, "n: expected a whole number of at least 1; got 0"),
        ("n", 2.0, "n: expected a whole number"),
        ("unit", "run", "unit: expected one of seed, instance, round; got 'run'"),
        ("name", "", "name: expected a non-empty string; got ''"),
        ("metric", None, "metric: expected a non-empty string"),
        ("command", "", "command: expected a command that starts with"),
        ("command", "rm -rf runs", "command: expected a command that starts with"),
        ("reference", math.inf, "reference: expected a finite number or null"),
        ("reference", 3.8, "source: expected where the reference is from"),
        ("seeds", [1.5], "seeds: expected a list of whole numbers"),
        ("seconds", -1.0, "seconds: expected at least 0"),
    ],
)
def test_a_row_that_is_not_as_agreed_names_its_field(field, value, message):
    with pytest.raises(TableError, match=re.escape(message)):
        rows.check_row({**make(), field: value})


def test_missing_and_unknown_fields_are_named():
    short = {key: value for key, value in make().items() if key != "unit"}
    with pytest.raises(TableError, match=r"missing fields \['unit'\], unknown fields \['units'\]"):
        rows.check_row({**short, "units": "seed"})


# --- files ---


def test_writing_merges_by_name_and_metric(tmp_path):
    path = tmp_path / "nco" / "tsp.json"
    results_table.write_table(path, "TSP", [make("TSP100"), make("TSP20"), make("TSP20", "gap")])
    results_table.write_table(path, "TSP", [make("TSP20", value=3.85), make("TSP50")])
    table = results_table.read_table(path)
    assert [(row["name"], row["metric"]) for row in table.rows] == [
        ("TSP20", "gap"),
        ("TSP20", "tour_length"),
        ("TSP50", "tour_length"),
        ("TSP100", "tour_length"),
    ]
    assert table.rows[1]["value"] == 3.85
    before = path.read_bytes()
    results_table.write_table(path, "TSP", reversed(table.rows))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["tsp.json"]


def test_a_bad_row_leaves_the_file_alone(tmp_path):
    path = tmp_path / "tsp.json"
    results_table.write_table(path, "TSP", [make()])
    before = path.read_bytes()
    for bad in ([{**make(), "n": 0}], [make(), make()]):
        with pytest.raises(TableError):
            results_table.write_table(path, "TSP", bad)
    assert path.read_bytes() == before


def test_rows_of_a_run_become_rows_of_a_table(tmp_path):
    known = {"command": RUN, "config": "c", "seeds": [0], "machine": "m", "commit": "c"}
    of_run = rows.complete({"name": "a", "metric": "b", "value": 2.0}, {**known, "seconds": 3.0})
    written = results_table.write_table(tmp_path / "t.json", "T", [of_run])
    assert written == results_table.read_table(tmp_path / "t.json")
    assert written.rows[0]["low"] == written.rows[0]["high"] == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["rows"].append(content["rows"][0]), "expected each once"),
        (lambda content: content.update(more=1), r'expected \{"title", "rows"'),
        (lambda content: content.update(title=""), "title: expected a non-empty string"),
        (lambda content: content["rows"][0].update(high=0.0), "high: expected at least"),
    ],
)
def test_a_file_that_is_not_as_agreed_is_named(change, message, tmp_path):
    path = tmp_path / "t.json"
    content = {"title": "T", "rows": [make()]}
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(TableError, match=rf"t\.json: .*{message}"):
        results_table.read_table(path)
    path.write_text("{")
    with pytest.raises(TableError, match=r"t\.json"):
        results_table.read_table(path)


def test_table_names_have_one_form():
    assert results_table.table_path("nco/tsp").parts[-3:] == ("results", "nco", "tsp.json")
    for name in ("tsp", "../x", "nco/TSP", "a/b/c"):
        with pytest.raises(TableError, match="expected GROUP/TABLE"):
            results_table.table_path(name)


# --- markdown ---


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((3.84321, 3.83, 3.85642), "3.843 ± 0.013"),
        ((3.0, 2.9004, 3.0996), "3.00 ± 0.10"),
        ((12345.6, 12300.0, 12391.2), "12,346 ± 46"),
        ((12345.6, 11345.6, 13345.6), "12,300 ± 1,000"),
        ((0.5, 0.1, 0.6), "0.50 (0.10 to 0.60)"),
        ((-0.001, -0.101, 0.099), "0.00 ± 0.10"),
        ((3.0, 3.0, 3.0), "3"),
        ((0.0, 0.0, 0.0), "0"),
        ((2.718281828,), "2.718"),
        ((0.0123456,), "0.01235"),
        ((98765.4321,), "98,765"),
        ((1.5e-7, 1.4e-7, 1.6e-7), "(1.50 ± 0.10)e-7"),
        ((2.5e9,), "2.5e9"),
        ((-4.25,), "-4.25"),
    ],
)
def test_digits_follow_the_interval(numbers, text):
    assert format_number(*numbers) == text


def test_one_line_a_row_by_default():
    table = markdown([make(low=3.8, high=4.0, n=1000, reference=3.88, source="P | 1")])
    assert table.splitlines() == [
        "|  | metric | value (95% interval) | n | reference | source |",
        "| --- | --- | ---: | ---: | ---: | --- |",
        r"| greedy | tour_length | 3.90 ± 0.10 | 1,000 instances | 3.88 | P \| 1 |",
    ]
    assert "reference" not in markdown([make()])


def test_metrics_as_columns_make_one_line_a_name():
    table = [make(), make(metric="gap_percent", value=1.5), make("sampled", value=3.85)]
    assert markdown(table, ["name", "gap_percent", "tour_length", "n"]).splitlines() == [
        "|  | gap percent | tour length | n |",
        "| --- | ---: | ---: | ---: |",
        "| greedy | 1.5 | 3.9 | 1 instance |",
        "| sampled |  | 3.85 | 1 instance |",
    ]


def test_each_metric_may_have_a_column_for_its_own_n():
    over = {"low": 1.0, "high": 2.0}
    table = [make(value=1.5, n=2000, **over), make(metric="gap", value=1.5, n=30, **over)]
    table += [make("one")]
    columns = ["name", "tour_length", "tour_length.n", "gap", "gap.n"]
    assert markdown(table, columns).splitlines() == [
        "|  | tour length | n | gap | n |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| greedy | 1.50 ± 0.50 | 2,000 | 1.50 ± 0.50 | 30 |",
        "| one | 3.9 | 1 |  |  |",
    ]
    with pytest.raises(TableError, match=r"got 'gap\.colour'"):
        markdown(table, ["name", "gap.colour"])


def test_a_number_over_one_instance_says_so_where_no_column_does():
    timed = make("b", metric="run_seconds", value=0.5, unit="round")
    assert "| a | 3.9 (n = 1) |" in markdown([make("a")], ["name", "value"])
    assert "| b | 0.5 (n = 1) |" in markdown([timed], ["name", "run_seconds"])
    assert "| b | 0.5 | 1 round |" in markdown([timed], ["name", "run_seconds", "run_seconds.n"])
    assert "n = 1" not in markdown([make("a", n=2)], ["name", "value"])


def test_columns_that_do_not_fit_are_named():
    with pytest.raises(TableError, match=r"expected some of name, .*tour_length; got 'speed'"):
        markdown([make()], ["name", "speed"])
    mixed = [make(n=2), make(metric="gap", n=3)]
    with pytest.raises(TableError, match="n differs between the metrics of 'greedy'"):
        markdown(mixed, ["name", "gap", "tour_length", "n"])


# --- README files ---


@pytest.fixture
def checkout(tmp_path):
    results_table.write_table(tmp_path / "experiments/results/nco/tsp.json", "TSP", [make()])
    (tmp_path / "nco").mkdir()
    (tmp_path / "nco" / "README.md").write_text(
        "Before\n\n<!-- table: nco/tsp name value -->\nold\n<!-- /table -->\n\nAfter `x`\n"
    )
    (tmp_path / ".venv" / "x").mkdir(parents=True)
    (tmp_path / ".venv" / "x" / "README.md").write_text("<!-- table: no/no -->\n<!-- /table -->\n")
    return tmp_path


def test_tables_in_a_readme_are_made_anew(checkout, capsys):
    readme = checkout / "nco" / "README.md"
    assert report.tables(checkout, check=True) == 1
    assert "old" in readme.read_text()
    assert "stale: nco/README.md" in capsys.readouterr().out
    assert report.tables(checkout) == 0
    assert readme.read_text() == (
        "Before\n\n<!-- table: nco/tsp name value -->\n|  | value (95% interval) |\n"
        "| --- | ---: |\n| greedy | 3.9 (n = 1) |\n<!-- /table -->\n\nAfter `x`\n"
    )
    assert report.tables(checkout, check=True) == 0
    path = checkout / "experiments/results/nco/tsp.json"
    results_table.write_table(path, "TSP", [make(value=4.5)])
    assert markdown_tables.update(checkout, write=False) == [readme]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: nco/vrp -->\n<!-- /table -->\n", r"'nco/vrp': expected one of nco/tsp\.json"),
        ("<!-- table: nco/tsp speed -->\n<!-- /table -->\n", "columns: expected some of"),
        ("<!-- table: nco/tsp -->\nnothing closes it\n", "both an opening and a closing comment"),
        ("text\n<!-- /table -->\n", "both an opening and a closing comment"),
        ("<!-- table: nco/tsp -->\n<!-- table: nco/tsp -->\n<!-- /table -->\n", "comment|before"),
        ("<!-- table: -->\n<!-- /table -->\n", "expected GROUP/TABLE|not enough|comment"),
    ],
)
def test_a_readme_that_cannot_be_filled_is_named(text, message, checkout):
    (checkout / "README.md").write_text(text)
    with pytest.raises(TableError, match=rf"README\.md: .*({message})"):
        markdown_tables.update(checkout)
    assert (checkout / "README.md").read_text() == text


def test_rows_are_chosen_by_patterns_in_their_order(tmp_path):
    rows = [make("greedy"), make("sample8"), make("sample128"), make("exact")]
    results_table.write_table(tmp_path / "nco" / "tsp.json", "TSP", rows)
    text = "<!-- table: nco/tsp only=sample*,greedy name -->\n<!-- /table -->\n"
    lines = markdown_tables.render(text, tmp_path).splitlines()[3:-1]
    assert lines == ["| sample8 |", "| sample128 |", "| greedy |"]
    with pytest.raises(TableError, match=r"only=gredy: expected a pattern of some names"):
        markdown_tables.render(text.replace("greedy", "gredy"), tmp_path)


def test_the_rounding_of_a_sum_is_no_interval():
    assert format_number(0.97, 0.97 - 3e-16, 0.97 + 3e-16) == "0.97"
