"""The benchmark of mpl: the count of FLOPs, the rows, and every kernel's name."""

from experiments.bench import __main__ as bench
from experiments.report import table as results_table


def test_flops_are_those_of_the_written_count(tmp_path):
    """15 passes over a batch against 12 (the module's docstring), and what is no pass."""
    path = tmp_path / "step.json"
    assert bench.main(["mpl", "--only", "step-*", "--tiny", "--json", str(path)]) == 0
    found = results_table.read_table(path)
    rows = {row["metric"]: row for row in found.rows}
    assert set(rows) == {"ratio", "flops_ratio", "ratio_over_flops_ratio"}
    assert {row["name"] for row in found.rows} == {"mpl"}
    assert 1.2 < rows["flops_ratio"]["value"] < 1.3
    ratio = rows["ratio"]["value"] / rows["flops_ratio"]["value"]
    assert abs(ratio - rows["ratio_over_flops_ratio"]["value"]) < 1e-9
    assert rows["ratio"]["n"] == 2
    assert rows["ratio"]["command"].startswith("python -m experiments.bench mpl --only 'step-*'")


def test_kernels_of_the_room(capsys):
    assert bench.main(["mpl", "--list"]) == 0
    names = capsys.readouterr().out.split()
    kernels = ["digits-student", "digits-teacher", "digits-mpl", "convolution-gradient"]
    assert names == [*kernels, "step-mpl"]
