"""Supervised learning: labels on disk, their new orders, and a run that learns them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.registry import MissingDataset
from experiments.nco import decoding, labels
from experiments.nco import supervised as nco_supervised
from experiments.nco.problems import lengths
from experiments.runner import config as configs
from experiments.runner import pretrained, search_loop
from experiments.runner.checks import ConfigError
from experiments.runner.loop import train
from experiments.runner.workdir import WorkdirError
from nco import solvers
from nco.problems import tsp


def small(**overrides):
    base = {"model.hidden": 8, "model.embed": 8, "labels.count": 8, "cities": 6}
    pairs = [(key, str(value)) for key, value in (base | overrides).items()]
    return configs.load("nco/supervised:20,smoke", pairs)


def make(workdir, steps, **overrides):
    """Runs `nco/labels` for so many parts of three instances; returns the rows of its end."""
    base = {"cities": 6, "part": 3, "steps": steps}
    pairs = [(key, str(value)) for key, value in (base | overrides).items()]
    config = configs.load("nco/labels:20,smoke", pairs)
    work = labels.build(config)
    (searched,) = search_loop.train(work, config, workdir).states
    return work.finish(searched, workdir)


def test_labels_go_on_where_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(labels.os, "cpu_count", lambda: 1)  # no pool
    whole, parts = tmp_path / "whole", tmp_path / "a" / "parts"
    (row,) = make(whole, 3)
    assert (row["value"], row["n"]) == (0, 9)
    make(parts, 1)
    before = labels.load(parts / "labels.npz")
    assert len(before.tours) == 3
    make(parts, 3)
    one, other = labels.load(whole / "labels.npz"), labels.load(f"{parts}.npz")
    np.testing.assert_array_equal(one.coords, other.coords)
    np.testing.assert_array_equal(one.tours, other.tours)
    np.testing.assert_array_equal(before.tours, one.tours[:3])
    # Up to 15 cities fast-tsp is exact.
    gap = {"gap_percent": 0.0, "gap_of": 9, "gap_to": "proven optima"}
    assert one.about == {"solver": "fast-tsp", "cities": 6, **gap}
    best = [solvers.exact(each) for each in one.coords]
    both = [lengths(one.coords, tours) for tours in (one.tours, np.array(best))]
    np.testing.assert_allclose(*both, rtol=1e-4)
    with pytest.raises(WorkdirError, match="cities: 6 -> 7"):
        make(whole, 3, cities=7)


def test_augmented_labels_are_the_same_tours_in_canonical_form():
    known = labels.solved(7, 40)
    coords, tours = tsp.augment(
        jax.random.key(0), jnp.asarray(known.coords), jnp.asarray(known.tours)
    )
    coords, tours = np.asarray(coords), np.asarray(tours)
    before = lengths(known.coords, known.tours)
    np.testing.assert_allclose(lengths(coords, tours), before, rtol=1e-5)
    assert (tours[:, 0] == 0).all()
    assert (tours[:, 1] < tours[:, -1]).all()
    assert (coords != known.coords).any(axis=(1, 2)).all()
    same = (np.sort(coords, axis=1) == np.sort(known.coords, axis=1)).all(axis=(1, 2))
    assert 0 < same.sum() < 20  # one of the eight symmetries changes nothing
    expected = [solvers._canonical(tour.tolist(), np.ones((7, 7))) for tour in tours]
    shifted = tsp.canonical(jnp.asarray(np.roll(tours, 3, axis=1)[:, ::-1].copy()))
    np.testing.assert_array_equal(shifted, expected)


def test_a_run_learns_its_labels(tmp_path):
    options = {"model.scale": 0.0, "model.hidden": 16, "augment": "false"}
    config = small(steps=150, eval_every=150, checkpoint_every=150, **options)
    config.optimizer.learning_rate = 0.02
    experiment = nco_supervised.build(config)
    known = labels.solved(6, 8)
    state = train(experiment, config, tmp_path / "run").states[0]
    rows = experiment.finish(state, tmp_path)
    assert rows == []  # the smoke preset compares nothing
    loaded = pretrained.load(tmp_path)
    assert loaded.config["experiment"] == "nco_tsp"
    model = decoding.of(loaded, "trained")
    found = decoding.greedy(model, known.coords).actions
    assert (found == known.tours).all(axis=1).mean() > 0.5


def test_finish_decodes_public_instances(tmp_path):
    experiment = nco_supervised.build(small(**{"finish.instances": 3, "finish.samples": 4}))
    rows = experiment.finish(jax.jit(experiment.init)(jax.random.key(0)), tmp_path)
    names = ["tsp6-supervised-greedy", "tsp6-supervised-sample4"]
    assert [row["name"] for row in rows] == names
    assert "'solver': 'christofides'" in (tmp_path / "table.md").read_text()
    assert pretrained.load(tmp_path).config["labels"]["solver"] == "christofides"


def test_impossible_labels_are_named_with_the_command_that_makes_them(tmp_path):
    missing = {"labels.path": tmp_path / "none.npz"}
    with pytest.raises(MissingDataset, match=r"^labels.path: .*cities=6 --config.steps=1"):
        nco_supervised.build(small(**missing))
    labels.save(tmp_path / "few.npz", labels.solved(6, 2))
    few = {"labels.path": tmp_path / "few.npz"}
    with pytest.raises(MissingDataset, match=r"few\.npz holds 2 of 8; make .* by: python"):
        nco_supervised.build(small(**few))
    with pytest.raises(ConfigError, match=r"expected labels of 7 cities, got .of 6"):
        nco_supervised.build(small(**few, cities=7))
    with pytest.raises(ConfigError, match=r"^labels.count: "):
        nco_supervised.build(small(**{"labels.count": 5000}))
    with pytest.raises(ConfigError, match=r"^model.glimpses: "):
        nco_supervised.build(small(**{"model.glimpses": -1}))
