"""The benchmark of search: every kernel's name, precision and count."""

import numpy as np

from experiments.bench import __main__ as bench
from experiments.bench.kernel import Loaded
from experiments.search import kernels as bench_search


def test_kernels_of_the_room(capsys):
    assert bench.main(["search", "--list"]) == 0
    names = capsys.readouterr().out.split()
    assert names == [
        "lanas-table", "gp-fit-200", "gp-sample-200", "gp-fit-1000", "gp-sample-1000",
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
