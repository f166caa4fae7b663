"""Real searchers through the runner: cut anywhere, they ask for the same and end the same."""

import shutil

import pytest

from experiments.runner import config as configs
from experiments.runner import search_loop
from experiments.runner.search_journal import JOURNAL
from experiments.search import nasbench201 as search_nasbench201
from experiments.search import synthetic as search_synthetic

pytest.importorskip("sklearn")

CELLS = "search/nasbench201:made_up,smoke"
CASES = {
    "lanas": (search_nasbench201, CELLS, {"method": "lanas", "batch_size": 3}),
    "lamcts": (search_nasbench201, CELLS, {"method": "lamcts", "lamcts.leaf_size": 6}),
    # A fit of its predictor after 20 outcomes.
    "alphax": (search_nasbench201, CELLS, {"method": "alphax", "batch_size": 2}),
    "lamcts_turbo": (
        search_synthetic,
        "search/synthetic:ackley20,smoke",
        {"function": "levy3", "steps": 20, "tree.round_init": 4, "tree.leaf_size": 4,
         "tree.round_most": 6},
    ),
}  # fmt: skip


QUICK = ("lanas", "lamcts_turbo")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_a_search_that_is_cut_ends_the_same(name, tmp_path):
    module, config_name, changes = CASES[name]
    overrides = [(key, str(value)) for key, value in changes.items()]
    config = configs.load(config_name, overrides)

    def search(workdir):
        return search_loop.train(module.build(config), config, workdir)

    whole = search(tmp_path / "whole")
    lines = (tmp_path / "whole" / JOURNAL).read_text().splitlines(keepends=True)
    assert whole.step == config.steps
    for share in (0.45, 0.9):
        shutil.copytree(tmp_path / "whole", tmp_path / f"{share}")
        cut = int(share * len(lines))
        text = "".join(lines[:cut]) + lines[cut][:7]  # and a torn line
        (tmp_path / f"{share}" / JOURNAL).write_text(text)
        search(tmp_path / f"{share}")
        for file in (JOURNAL, "metrics.jsonl"):
            wanted = (tmp_path / "whole" / file).read_bytes()
            assert (tmp_path / f"{share}" / file).read_bytes() == wanted
