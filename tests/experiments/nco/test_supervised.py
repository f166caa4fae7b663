"""Supervised learning: labels on disk, their new orders, and a run that learns them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.registry import MissingDataset
from experiments.nco import decoding as solution_search
from experiments.nco import labels as tsp_labels
from experiments.nco import supervised as nco_supervised
from experiments.nco import tsp as nco_tsp
from experiments.runner import config as configs
from experiments.runner import pretrained
from experiments.runner.checks import ConfigError
from experiments.runner.loop import train
from nco import solvers


def small(**overrides):
    base = {"model.hidden": 8, "model.embed": 8, "labels.count": 8, "cities": 6}
    pairs = [(key, str(value)) for key, value in (base | overrides).items()]
    return configs.load("nco/supervised:20,smoke", pairs)


def make(path, *words):
    return tsp_labels.main(["--cities=6", "--out", str(path), *words])


def test_labels_go_on_where_they_were(tmp_path, capsys):
    whole, parts = tmp_path / "whole.npz", tmp_path / "a" / "parts.npz"
    assert make(whole, "--count=7") == 0
    assert make(parts, "--count=3", "--part=2") == 0
    before = tsp_labels.load(parts)
    assert len(before.tours) == 3
    assert make(parts, "--count=7", "--part=3") == 0
    assert make(parts, "--count=5") == 0  # done already
    one, other = tsp_labels.load(whole), tsp_labels.load(parts)
    np.testing.assert_array_equal(one.coords, other.coords)
    np.testing.assert_array_equal(one.tours, other.tours)
    np.testing.assert_array_equal(before.tours, one.tours[:3])
    # Up to 15 cities fast-tsp is exact.
    gap = {"gap_percent": 0.0, "gap_of": 7, "gap_to": "proven optima"}
    assert one.about == {"solver": "fast-tsp", "cities": 6, **gap}
    best = [solvers.exact(each) for each in one.coords]
    lengths = [nco_tsp.lengths(one.coords, tours) for tours in (one.tours, np.array(best))]
    np.testing.assert_allclose(*lengths, rtol=1e-4)
    with pytest.raises(SystemExit):
        tsp_labels.main(["--cities=7", "--out", str(whole)])
    assert "holds instances of 6 cities" in capsys.readouterr().err


def test_augmented_labels_are_the_same_tours_in_canonical_form():
    labels = tsp_labels.solved(7, 40)
    coords, tours = nco_supervised.augment(
        jax.random.key(0), jnp.asarray(labels.coords), jnp.asarray(labels.tours)
    )
    coords, tours = np.asarray(coords), np.asarray(tours)
    before = nco_tsp.lengths(labels.coords, labels.tours)
    np.testing.assert_allclose(nco_tsp.lengths(coords, tours), before, rtol=1e-5)
    assert (tours[:, 0] == 0).all()
    assert (tours[:, 1] < tours[:, -1]).all()
    assert (coords != labels.coords).any(axis=(1, 2)).all()
    same = (np.sort(coords, axis=1) == np.sort(labels.coords, axis=1)).all(axis=(1, 2))
    assert 0 < same.sum() < 20  # one of the eight symmetries changes nothing
    expected = [solvers._canonical(tour.tolist(), np.ones((7, 7))) for tour in tours]
    shifted = nco_supervised.canonical(jnp.asarray(np.roll(tours, 3, axis=1)[:, ::-1].copy()))
    np.testing.assert_array_equal(shifted, expected)


def test_a_run_learns_its_labels(tmp_path):
    options = {"model.scale": 0.0, "model.hidden": 16, "augment": "false"}
    config = small(steps=150, eval_every=150, checkpoint_every=150, **options)
    config.optimizer.learning_rate = 0.02
    experiment = nco_supervised.build(config)
    labels = tsp_labels.solved(6, 8)
    state = train(experiment, config, tmp_path / "run").states[0]
    rows = experiment.finish(state, tmp_path)
    assert rows == []  # the smoke preset compares nothing
    loaded = pretrained.load(tmp_path)
    assert loaded.config["experiment"] == "nco_tsp"
    model = solution_search.of(loaded, "trained")
    found = solution_search.greedy(model, labels.coords).actions
    assert (found == labels.tours).all(axis=1).mean() > 0.5


def test_finish_decodes_public_instances(tmp_path):
    experiment = nco_supervised.build(small(**{"finish.instances": 3, "finish.samples": 4}))
    rows = experiment.finish(jax.jit(experiment.init)(jax.random.key(0)), tmp_path)
    names = ["tsp6-supervised-greedy", "tsp6-supervised-sample4"]
    assert [row["name"] for row in rows] == names
    assert "'solver': 'christofides'" in (tmp_path / "table.md").read_text()
    assert pretrained.load(tmp_path).config["labels"]["solver"] == "christofides"


def test_impossible_labels_are_named_with_the_command_that_makes_them(tmp_path):
    missing = {"labels.path": tmp_path / "none.npz"}
    with pytest.raises(MissingDataset, match=r"^labels.path: .*tsp_labels --cities 6 --count 8"):
        nco_supervised.build(small(**missing))
    assert make(tmp_path / "few.npz", "--count=2") == 0
    few = {"labels.path": tmp_path / "few.npz"}
    with pytest.raises(MissingDataset, match=r"few\.npz holds 2 of 8; make .* by: python"):
        nco_supervised.build(small(**few))
    with pytest.raises(ConfigError, match=r"expected labels of 7 cities, got .of 6"):
        nco_supervised.build(small(**few, cities=7))
    with pytest.raises(ConfigError, match=r"^labels.count: "):
        nco_supervised.build(small(**{"labels.count": 5000}))
    with pytest.raises(ConfigError, match=r"^model.glimpses: "):
        nco_supervised.build(small(**{"model.glimpses": -1}))
