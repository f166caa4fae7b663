"""The plain CNNs as networks, and weights that go from a parent to its child."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search import alphax, design_spaces, interface, plain_cnn
from search.alphax import Job

RECIPE = plain_cnn.Recipe(epochs=8, rate=1e-2, batch=30)


@pytest.fixture(scope="module")
def data():
    """Few images, whose label is the row of 8 pixels that is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, 240)
    images = 0.3 * rng.standard_normal((240, 8, 8))
    images[np.arange(240), labels] += 1.0
    images, labels = jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32)
    return {
        "images": images[:120], "labels": labels[:120],
        "score_images": images[120:], "score_labels": labels[120:],
    }  # fmt: skip


@pytest.mark.parametrize("depth", [1, 3])
def test_a_network_computes_what_xla_convolutions_do(depth):
    rng = np.random.default_rng(depth)
    kernels, filters = rng.integers(0, 2, depth), rng.integers(0, 2, depth)
    images = jnp.asarray(rng.normal(size=(4, 8, 8)), jnp.float32)

    @jax.jit
    def both(images):
        mask = plain_cnn.masks(jnp.asarray(kernels), jnp.asarray(filters))
        params = plain_cnn.init(jax.random.key(0), mask)
        bias = jnp.linspace(-0.5, 0.5, 8)
        params["layers"] = [{**layer, "b": bias} for layer in params["layers"]]
        x = images[..., None]
        for i, layer in enumerate(params["layers"]):
            size, width = (3, 5)[kernels[i]], (4, 8)[filters[i]]
            cut = (5 - size) // 2
            weights = layer["w"][cut : 5 - cut, cut : 5 - cut, : x.shape[-1], :width]
            x = jax.lax.conv_general_dilated(
                x, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(x + bias[None, None, None, :width])
        return plain_cnn.logits(params, mask, images), x.mean(axis=(1, 2)), params

    found, pooled, params = both(images)
    pooled = np.asarray(pooled)
    pooled = (pooled - pooled.mean(0)) / np.sqrt(pooled.var(0) + 1e-5)
    expected = pooled @ np.asarray(params["w"])[: pooled.shape[-1]] + np.asarray(params["b"])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_training_repeats_itself_and_learns(data):
    keys = jax.random.split(jax.random.key(0), 2)
    both = jnp.ones((2, 1), int)
    settings = {"epochs": 8, "rate": 1e-2, "batch": 30}
    found = plain_cnn.train_each(both, both, keys, data, **settings)
    again = plain_cnn.train_each(both, both, keys, data, **settings)
    np.testing.assert_array_equal(found, again)
    assert (np.asarray(found) > 0.25).all()  # of eight classes
    assert found[0] != found[1]


def test_a_transferred_child_starts_ahead(data):
    scratch, transferred = plain_cnn.child_curves(0, data, RECIPE, layers=1)
    assert len(scratch) == 8
    assert transferred[0] > scratch[0]


def job(number, parent, kernels, filters):
    code = np.zeros(11, np.int64)
    code[0] = len(kernels)
    code[1 : 1 + len(kernels)] = kernels
    code[6 : 6 + len(filters)] = filters
    return Job(code, number, parent)


class Still(plain_cnn.Recipe):
    """No training: the parameters stay, whose sum is the accuracy."""

    def train(self, params, mask, key, data):
        return params, jnp.stack([sum(jnp.abs(leaf).sum() for leaf in jax.tree.leaves(params))])


def test_a_child_starts_from_the_layers_that_its_parent_has(data):
    objective = plain_cnn.Trained(data, Still(1, 1.0, 1))
    objective(job(0, -1, [1, 2], [1, 1]), 5)
    assert objective.copied == [0.0]
    objective(job(1, 0, [1, 2, 1], [1, 1, 1]), 6)  # both layers and the head
    assert objective.copied[-1] == 6 / 8
    objective(job(2, 0, [1, 1], [1, 1]), 6)  # another kernel in the second: first layer and head
    assert objective.copied[-1] == 4 / 6
    objective(job(3, 0, [1, 2], [2, 1]), 6)  # other filters in the first: what follows it differs
    assert objective.copied[-1] == 2 / 6


def test_a_training_depends_on_its_seed_and_network_alone(data):
    first, other = (
        plain_cnn.Trained(data, RECIPE)(job(number, -1, [1], [2]), 5) for number in (0, 7)
    )
    assert first == other


def test_a_search_finds_the_weights_of_every_parent_it_names(data):
    searcher = alphax.searcher(design_spaces.plain_cnn("global"), c=0.2, transfer=True)
    objective = plain_cnn.Trained(data, Still(1, 1.0, 1))
    run = interface.maximise(searcher, objective, budget=8, seed=0)
    assert np.isfinite(run.values).all()  # a parent without weights would be a failed trial
    assert [trial.point.number for trial in run.trials] == list(range(8))
    assert max(objective.copied) > 0
    fresh = plain_cnn.Trained(data, Still(1, 1.0, 1), reuse=False)
    interface.maximise(searcher, fresh, budget=2, seed=0)
    assert fresh.copied == [0.0, 0.0]
