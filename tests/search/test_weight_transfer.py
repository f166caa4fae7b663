"""Which weights a child network takes from its parent."""

import jax
import numpy as np

from search.weight_transfer import transfer


def params(widths, seed):
    """Convolutions of these widths, and a head, as flax names them."""
    rng, channels, layers = np.random.default_rng(seed), 1, {}
    for i, width in enumerate(widths):
        kernel = rng.normal(size=(3, 3, channels, width))
        layers[f"conv{i}"] = {"kernel": kernel, "bias": rng.normal(size=width)}
        channels = width
    head = {"kernel": rng.normal(size=(channels, 10)), "bias": rng.normal(size=10)}
    return {**layers, "head": head}


def layers_copied(parent, child):
    found, taken = transfer(parent, child)
    for name, layer in found.items():
        for leaf, value in layer.items():
            source = parent if taken[name][leaf] else child
            np.testing.assert_array_equal(value, source[name][leaf])
    return {name for name, layer in taken.items() if all(layer.values())}


def test_a_layer_more_keeps_all_others():
    assert layers_copied(params((4, 8), 0), params((4, 8, 8), 1)) == {"conv0", "conv1", "head"}


def test_a_child_that_is_its_parent_takes_everything():
    parent, child = params((4, 8), 0), params((4, 8), 1)
    found, _ = transfer(parent, child)
    jax.tree.map(np.testing.assert_array_equal, found, parent)


def test_layers_of_other_shapes_stay_as_drawn():
    """A wider conv1 changes its own inputs, its bias too, and the head; nothing goes in part."""
    assert layers_copied(params((4, 8), 0), params((4, 6), 1)) == {"conv0"}
    assert layers_copied(params((4, 8, 2), 0), params((4, 8), 1)) == {"conv0", "conv1"}


def test_the_same_shape_of_another_kind_of_number_is_another_layer():
    parent, child = {"a": {"w": np.ones(2, np.float32)}}, {"a": {"w": np.zeros(2, np.float16)}}
    assert layers_copied(parent, child) == set()


def test_layers_in_lists_and_arrays_at_the_top():
    parent = {"layers": [{"w": np.ones(2)}], "w": np.ones(3), "b": np.ones(1)}
    child = {"layers": [{"w": np.zeros(2)}, {"w": np.zeros(2)}], "w": np.zeros(3), "b": np.zeros(1)}
    found, taken = transfer(parent, child)
    assert taken == {"layers": [{"w": True}, {"w": False}], "w": True, "b": True}
    np.testing.assert_array_equal(found["layers"][0]["w"], 1.0)
    np.testing.assert_array_equal(found["layers"][1]["w"], 0.0)


def test_a_layer_with_another_bias_or_none_is_another_layer():
    whole, bare = {"a": {"w": np.ones(2), "b": np.ones(1)}}, {"a": {"w": np.zeros(2)}}
    assert layers_copied(whole, bare) == set()
    assert layers_copied(bare, whole) == set()
