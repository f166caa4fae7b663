"""Meta-DNNs learn, say the same twice, and compile for a few sizes only."""

import numpy as np
import pytest

from search import meta_dnn
from search.meta_dnn import Training
from search.spaces import choices

SPACE = choices([3] * 5)
CELLS = SPACE.every()
QUICK = Training(epochs=20, batch=32, learning_rate=3e-3, min_steps=150)


def clustered(cells):
    """Rewards in three far clusters, each with an order of its own, as accuracies are."""
    cluster = np.array([0.1, 0.6, 0.9])[cells[:, 0]]
    return cluster + 0.02 * (cells[:, 1] - cells[:, 2]) * (cells[:, 0] - 1) + 0.005 * cells[:, 3]


MODELS = {
    "mlp": (meta_dnn.mlp((32, 32), QUICK), SPACE.one_hot),
    "lstm": (meta_dnn.lstm(3, 16, 8, QUICK), lambda cells: cells),
    "multi_stage": (meta_dnn.multi_stage((32, 32), stages=3, training=QUICK), SPACE.one_hot),
    "edges": (meta_dnn.multi_stage((32, 32), edges=[0.3, 0.8], training=QUICK), SPACE.one_hot),
}


@pytest.mark.parametrize("name", MODELS)
def test_unseen_cells_are_predicted(name):
    model, encode = MODELS[name]
    order = np.random.default_rng(0).permutation(len(CELLS))
    seen, held = CELLS[order[:180]], CELLS[order[180:]]
    params = model.fit(encode(seen), clustered(seen), 0)
    found = model.predict(params, encode(CELLS[order]))
    assert found.shape == (243,)
    found = found[180:]
    assert found.dtype == np.float64
    assert meta_dnn.correlation(found, clustered(held)) > 0.95
    assert clustered(seen).min() <= found.min() <= found.max() <= clustered(seen).max()
    # Padding and company do not change a prediction: there, 243 rows fill 256; here, 1 fills 16.
    np.testing.assert_allclose(model.predict(params, encode(held[:1])), found[:1], rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_data_and_seed_give_the_same_bits(name):
    model, encode = MODELS[name]
    few = CELLS[: 243 * 3 // 5]
    one, same, other = (model.fit(encode(few), clustered(few), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(
        model.predict(one, encode(CELLS)), model.predict(same, encode(CELLS))
    )
    assert (model.predict(one, encode(CELLS)) != model.predict(other, encode(CELLS))).any()


def test_stages_are_one_expert_each():
    """Within a stage the sizes of values are of no concern to the others: it fits each cluster."""
    model, encode = MODELS["edges"]
    params = model.fit(encode(CELLS), clustered(CELLS), 0)
    np.testing.assert_array_equal(params["present"], [0, 1, 2])
    found = model.predict(params, encode(CELLS))
    for first in range(3):
        rows = CELLS[:, 0] == first
        error = found[rows] - clustered(CELLS[rows])
        assert np.abs(error).max() < 0.01  # a tenth of an interval's own range, not of all values


def test_a_stage_without_samples_is_never_asked():
    model = meta_dnn.multi_stage((32, 32), edges=[-1.0, 0.5, 5.0], training=QUICK)
    params = model.fit(SPACE.one_hot(CELLS), clustered(CELLS), 0)
    np.testing.assert_array_equal(params["present"], [1, 2])
    assert np.isfinite(model.predict(params, SPACE.one_hot(CELLS))).all()


def test_growing_data_compile_once_for_each_power_of_two():
    model, encode = MODELS["mlp"]
    before = meta_dnn._train._cache_size()
    for n in (33, 40, 51, 64):
        model.fit(encode(CELLS[:n]), clustered(CELLS[:n]), 0)
    assert meta_dnn._train._cache_size() <= before + 1


def test_equal_values_are_predicted_as_they_are():
    for model, encode in MODELS.values():
        params = model.fit(encode(CELLS), np.full(len(CELLS), 0.25), 0)
        np.testing.assert_allclose(model.predict(params, encode(CELLS)), 0.25)


def test_correlation_is_pearsons():
    x = np.random.default_rng(0).normal(size=50)
    y = 0.3 * x + np.random.default_rng(1).normal(size=50)
    expected = np.mean((x - x.mean()) * (y - y.mean())) / x.std() / y.std()
    assert meta_dnn.correlation(x, y) == pytest.approx(expected)
    assert meta_dnn.correlation(np.ones(50), y) == 0.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: meta_dnn.mlp((4, 0)), "widths: expected at least 1"),
        (lambda: meta_dnn.mlp((4,), Training(epochs=0)), "training: expected numbers of at least"),
        (lambda: meta_dnn.mlp((4,), Training(learning_rate=0.0)), "a learning rate above 0"),
        (lambda: meta_dnn.multi_stage(edges=[0.5, 0.2]), "edges: expected ascending"),
        (lambda: meta_dnn.multi_stage(stages=1), "stages: expected at least 2, got 1"),
        (
            lambda: meta_dnn.lstm(3, 4, 4).fit(np.array([[3]]), np.zeros(1), 0),
            "encodings: expected whole numbers from 0 to 2",
        ),
        (lambda: meta_dnn.mlp().fit(np.zeros((0, 3)), np.zeros(0), 0), "at least one, got"),
        (lambda: meta_dnn.mlp().fit(np.zeros((1, 3)), np.array([np.nan]), 0), "finite"),
    ],
)
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
