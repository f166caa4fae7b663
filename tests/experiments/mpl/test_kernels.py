"""The benchmark of mpl: the count of FLOPs, the rows, and every kernel's name."""

import jax

from experiments.bench import __main__ as bench
from experiments.mpl import kernels
from experiments.report import table as results_table
from parallel.jaxpr import cost


def test_flops_are_those_of_the_written_count():
    """15 passes over a batch against 12 (the module's docstring), and what is no pass."""
    named = {kernel.name: kernel for kernel in kernels.kernels()}
    costs = [
        cost(kernel.program, *jax.eval_shape(kernel.arguments))
        for kernel in (named[f"digits-{name}"] for name in ("mpl", "student", "teacher"))
    ]
    assert 1.2 < kernels.flops_ratio(*costs) < 1.3


def test_an_update_is_timed_beside_its_parts(tmp_path):
    path = tmp_path / "step.json"
    assert bench.main(["mpl", "--only", "step-*", "--tiny", "--json", str(path)]) == 0
    found = results_table.read_table(path)
    rows = {row["metric"]: row for row in found.rows}
    assert set(rows) == {"ratio", "flops_ratio", "ratio_over_flops_ratio"}
    assert {row["name"] for row in found.rows} == {"mpl"}
    ratio = rows["ratio"]["value"] / rows["flops_ratio"]["value"]
    assert abs(ratio - rows["ratio_over_flops_ratio"]["value"]) < 1e-9
    assert rows["ratio"]["n"] == 2
    assert rows["ratio"]["command"].startswith("python -m experiments.bench mpl --only 'step-*'")


def test_kernels_of_the_room(capsys):
    assert bench.main(["mpl", "--list"]) == 0
    names = capsys.readouterr().out.split()
    updates = ["digits-student", "digits-teacher", "digits-mpl"]
    assert names == [*updates, "convolution-gradient", "step-mpl"]
