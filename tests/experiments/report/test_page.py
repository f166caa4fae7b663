"""The pages of results: what they show, in which order, and what stands out."""

import tomllib

import pytest

from experiments.report import __main__ as report
from experiments.report import page as pages
from experiments.report import sweep
from experiments.report import table as results_table
from experiments.report.markdown import cell
from experiments.report.page import Page, tables, update
from experiments.report.rows import TableError
from experiments.report.table import read_table, write_table
from tests.experiments.report.test_table import RUN, make

ROOT = report.ROOT


def cells(text: str) -> list[list[str]]:
    return [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("|")]


# --- this checkout ---


def test_the_pages_are_what_the_results_say():
    assert update(ROOT, write=False) == [], "run: python -m experiments.report --tables"


@pytest.mark.parametrize("group", ["mpl", "nco", "search"])
def test_a_page_shows_every_row_and_every_picture(group):
    folder = ROOT / "experiments" / "results" / group
    text = (folder / "README.md").read_text()
    for path in folder.glob("*.json"):
        table = read_table(path)
        part = text.partition(f"## {table.title}\n")[2].partition("\n## ")[0]
        shown = [each.strip("*") for line in cells(part) for each in line]
        for row in table.rows:
            value = cell(row, "value")
            assert value in shown, (row["name"], row["metric"])
            shown.remove(value)
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures == {word.partition(")")[0] for word in text.split("](")[1:] if ".png)" in word}


def test_what_is_said_of_tables_is_of_tables_that_there_are():
    declared = sweep.tables()
    for path in ROOT.glob("experiments/results/*/page.toml"):
        for stem in tomllib.loads(path.read_text()):
            name = f"{path.parent.name}/{stem}"
            assert name in declared or path.with_name(f"{stem}.json").exists(), name
    for name, table in declared.items():
        if results_table.table_path(name).exists():
            assert read_table(results_table.table_path(name)).title == table.title


# --- any ---

TASKS = r"(?P<table>[^-]+)-(?:on(?P<group>\d+)-)?(?P<line>.+)"


def test_tables_groups_and_rows_are_in_the_order_of_their_numbers():
    names = ("b-T1.5", "b-T1.25", "a10-on20-x", "a10-on5-x", "a2-x", "b-T*", "a10-on5-b")
    parts = list(tables([make(name) for name in names], Page(by=TASKS)))
    assert parts[::2] == ["### a2", "### a10", "### b"]
    assert [line[0] for line in cells(parts[5])[2:]] == ["b-T1.25", "b-T1.5", "b-T*"]
    assert [line[:2] for line in cells(parts[3])[2:]] == [["5", "b"], ["", "x"], ["20", "x"]]


def test_short_names_that_do_not_tell_rows_apart_are_given_in_full():
    rows = [make(f"{network}-on-{size}") for network in "ab" for size in (5, 20)]
    (text,) = tables(rows, Page(by=r".-on-(?P<group>\d+)"))
    found = [line[:2] for line in cells(text)[2:]]
    assert found == [["5", "a-on-5"], ["", "b-on-5"], ["20", "a-on-20"], ["", "b-on-20"]]


def test_the_best_of_a_comparison_is_bold_and_bounds_are_not_compared():
    values = {"a-x": 2, "a-y": 3, "a-best": 1, "b-x": 5, "c-x": 7, "c-y": 6.5, "c-z": 8}
    values |= {
        "d-x": 4,
        "d-y": 4,
        "d-z": 5,
        "e-x": 1,
        "e-y": 1,
    }  # most are as good: none stands out
    rows = [make(name, value=value) for name, value in values.items()]
    rows += [make(name, "mean_reward", value) for name, value in values.items()]
    page = Page(best={"tour_length": "least", "*reward": "most"}, bounds=("*-best",))
    (text,) = tables(rows, page)
    heading, _, *lines = cells(text)
    assert heading[-3:] == ["tour length ↓", "mean reward ↑", "n"]
    assert [line[-3] for line in lines if "**" in line[-3]] == ["**2**", "**6.5**"]
    assert [line[-2] for line in lines if "**" in line[-2]] == ["**3**", "**8**", "**5**"]


def test_the_thesis_has_a_column_beside_its_metric_and_its_source_below():
    cited = {"reference": 3.89, "source": "Pham 2021, table 2.2"}
    rows = [make("x", n=5, **cited), make("y", n=3), make("x", "gap", 1.5, n=2)]
    text, sources = tables(rows, Page())
    assert text.splitlines() == [
        "|  | tour length | n (instances) | the thesis | gap | n (instances) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| x | 3.9 | 5 | 3.89 | 1.5 | 2 |",
        "| y | 3.9 | 3 |  |  |  |",
    ]
    assert sources == "Sources: Pham 2021, table 2.2."
    other, _ = tables([make("x", reference=1.0, source="TSPLIB")], Page())
    assert "| reference |" in other


def test_more_metrics_than_names_are_a_line_each():
    rows = [make(name, f"m{i}", i) for name in ("x", "y") for i in range(3)]
    (text,) = tables(rows, Page())
    assert text.splitlines()[0] == "|  | x | y |"
    assert text.splitlines()[3:5] == ["| m1 | 1 | 1 |", "| m2 | 2 | 2 |"]


@pytest.fixture
def folder(tmp_path):
    results = tmp_path / "experiments" / "results" / "toy"
    cell = "python -m experiments.report --fill toy/one --only"
    rows = [make("x", seconds=50.0, command=f"{cell} x"), make("y", command=f"{cell} 'y z'")]
    rows.append(make("x", "gap", seconds=89.0, command=f"{cell} x"))
    write_table(results / "one.json", "Title", rows)
    write_table(results / "another.json", "Of no page", [make("x", seconds=300.0)])
    (results / "drawn.png").write_bytes(b"")
    said = """[one]\nnote = "A note."\npictures = {"drawn.png" = "Drawn", "not_yet.png" = ""}\n"""
    (results / "page.toml").write_text(said)
    return results


def test_a_table_has_its_title_note_command_and_pictures(folder):
    first, one, another = pages.render(folder).split("\n## ")
    assert first.startswith("# Results: toy")
    command = "    python -m experiments.report --fill toy/one\n\n90 s in all, on m.\n"
    assert one.startswith(f"Title\n\nA note.\n\n{command}")
    assert one.endswith("|\n\n![Drawn](drawn.png)\n")
    assert another.startswith(f"Of no page\n\n    {RUN}\n\n5 min in all")


def test_a_picture_of_no_table_and_a_field_that_is_none_are_named(folder):
    (folder / "stray.png").write_bytes(b"")
    with pytest.raises(TableError, match=r"page\.toml: pictures: expected stray\.png among"):
        pages.render(folder)
    (folder / "page.toml").write_text("[one]\nnotes = ''\n")
    with pytest.raises(TableError, match=r"page\.toml: .*notes"):
        pages.render(folder)


def test_the_command_checks_pages_too(folder, capsys):
    root, page = folder.parents[2], folder / "README.md"
    assert report.tables(root, check=True) == 1
    assert not page.exists()
    assert "stale: experiments/results/toy/README.md" in capsys.readouterr().out
    assert report.tables(root) == 0
    assert report.tables(root, check=True) == 0
    write_table(folder / "one.json", "Title", [make("x", value=3.8)])
    assert update(root, write=False) == [page]
