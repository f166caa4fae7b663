"""Whole convolutional networks: the supernet's children against networks that are written out."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from enas import decisions, normalization
from enas.spaces import macro
from enas.supernet import Supernet

_SHAPE = (6, 5, 2)
_SPACE = functools.partial(macro.supernet, _SHAPE, 3, layers=4, channels=4, pool_at=(2,))
_IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, *_SHAPE)), jnp.float32)
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _random_weights(net: Supernet) -> Any:
    """No two the same, so that no exchange of weights goes unseen."""
    leaves, tree = jax.tree.flatten(net.init(jax.random.key(0)))
    rng = np.random.default_rng(1)
    noisy = [np.asarray(leaf) + 0.2 * rng.normal(size=leaf.shape) for leaf in leaves]
    return jax.tree.unflatten(tree, [jnp.asarray(leaf, jnp.float32) for leaf in noisy])


def _architectures(net: Supernet, count: int) -> np.ndarray:
    return np.asarray(decisions.guided(net.decisions, jax.random.key(2), count))


def _loss(apply: Any, weights: Any, choices: Any, images: Array) -> tuple[Array, Array]:
    logits = apply(weights, choices, images, train=True)[0]
    return jnp.sum(jnp.sin(logits) * jnp.arange(1.0, 4.0)[None]), logits


def _gradient(apply: Any) -> Any:
    return jax.value_and_grad(functools.partial(_loss, apply), has_aux=True)


# a network written out, one architecture at a time


def _conv(x: Array, kernel: Array, groups: int = 1) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT, feature_group_count=groups
    )


def _norm(x: Array, weights: Any) -> Array:
    mean, var = (f(x, (0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
    scale, offset = (weights[name][None, None, None] for name in ("scale", "offset"))
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + offset


def _window(x: Array, start: float, combine: Any, size: int, stride: int) -> Array:
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, start, combine, window, strides, "SAME")


def _mean(x: Array, size: int, stride: int) -> Array:
    total = _window(x, 0.0, jax.lax.add, size, stride)
    return total / _window(jnp.ones_like(x), 0.0, jax.lax.add, size, stride)


def _operation(name: str, own: Any, x: Array) -> Array:
    if name == "max3":
        return _window(x, -jnp.inf, jax.lax.max, 3, 1)
    if name == "avg3":
        return _mean(x, 3, 1)
    x, weights = jnp.maximum(x, 0.0), own[name]
    if name in ("conv3", "conv5"):
        assert weights["kernel"].shape[0] == int(name[-1])
        return _norm(_conv(x, weights["kernel"]), weights["bn"])
    assert weights["depth"].shape[0] == int(name[-1])
    return _norm(_conv(_conv(x, weights["depth"], x.shape[-1]), weights["point"]), weights["bn"])


def _plain(
    weights: Any, choices: np.ndarray, images: Array, *, train: bool = True
) -> tuple[Array, None]:
    place, outputs, x = 0, [], images
    for k in (int(name) for name in sorted(weights) if name.isdigit()):
        name, place = macro.OPERATIONS[choices[place]], place + 1
        taken = [j for j in range(1, k) if choices[place + j - 1]]
        place += k - 1
        own = weights[str(k)]
        if k == 1:
            stem = weights["stem"]
            x = _norm(_conv(images, stem["kernel"]), stem["bn"])
        elif len(taken) < 2:
            x = outputs[(taken or [k - 1])[0] - 1]
        else:
            both = jnp.concatenate([outputs[j - 1] for j in taken], -1)
            kernel = jnp.concatenate([own["squeeze"]["kernels"][str(j)] for j in taken])
            x = _conv(both, kernel[None, None])
            if "bn" in own["squeeze"]:
                x = _norm(x, own["squeeze"]["bn"])
            x = jnp.maximum(x, 0.0)
        outputs.append(_operation(name, own, x))
        if k == 2:
            outputs = [_mean(x, 2, 2) for x in outputs]
            if f"pool{k}" in weights:
                outputs = [
                    _norm(_conv(jnp.maximum(x, 0.0), own["kernel"]), own["bn"])
                    for x, own in zip(outputs, weights[f"pool{k}"].values(), strict=True)
                ]
    features = jnp.maximum(outputs[-1], 0.0).mean((1, 2))
    return features @ weights["head"]["kernel"] + weights["head"]["bias"][None], None


def _used(net: Supernet, weights: Any, choices: np.ndarray) -> set[str]:
    own = net.restrict(weights, choices)
    return {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(own)}


class Searched(NamedTuple):
    """Children of the space as it is searched, from one compiled program."""

    net: Supernet
    weights: Any
    architectures: np.ndarray
    logits: list[np.ndarray]
    gradients: list[Any]
    traces: int


@pytest.fixture(scope="module")
def searched() -> Searched:
    net, traced = _SPACE(), []

    def gradient(weights: Any, choices: Array, images: Array) -> Any:
        traced.append(choices)
        return _gradient(net.apply)(weights, choices, images)

    weights, compiled = _random_weights(net), jax.jit(gradient)
    architectures = _architectures(net, 50)
    found = [compiled(weights, jnp.asarray(choices), _IMAGES) for choices in architectures]
    logits, gradients = [np.asarray(x[0][1]) for x in found], [x[1] for x in found]
    return Searched(net, weights, architectures, logits, gradients, len(traced))


def test_children_are_the_networks_they_say(searched: Searched) -> None:
    net, weights, architectures, logits, gradients, traces = searched
    assert traces == 1
    for choices, found, gradient in zip(architectures, logits, gradients, strict=True):
        (_, expected), plain = _gradient(_plain)(weights, choices, _IMAGES)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        chex.assert_trees_all_close(gradient, plain, atol=1e-4, rtol=1e-4)
        used = _used(net, weights, choices)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            if jax.tree_util.keystr(path) not in used:
                assert not np.any(leaf), path


def test_retrained_children() -> None:
    net = _SPACE(layers=3, widen=2, normalize_skips=False)
    weights = _random_weights(net)
    compiled = jax.jit(_gradient(net.apply))
    for line in (
        "conv3 | sep5 +1 | conv5 +1 +2",
        "avg3 | max3 +1 | sep3 +1",
        "sep3 | conv3 | max3",
    ):
        choices = decisions.parse(net.decisions, line)
        own = net.restrict(weights, choices)
        (_, expected), whole = _gradient(_plain)(weights, choices, _IMAGES)
        (_, alone), of_own = _gradient(net.apply)(own, choices, _IMAGES)
        np.testing.assert_allclose(alone, expected, atol=1e-4)
        restricted = net.restrict(whole, choices)
        chex.assert_trees_all_close(of_own, restricted, atol=1e-4, rtol=1e-4)
        (_, logits), found = compiled(weights, jnp.asarray(choices), _IMAGES)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        chex.assert_trees_all_close(found, whole, atol=1e-4, rtol=1e-4)


def test_static_children_agree_with_the_supernet(searched: Searched) -> None:
    net, weights, architectures, logits, gradients, _ = searched
    for choices, found, gradient in list(zip(architectures, logits, gradients, strict=True))[:3]:
        own = net.restrict(weights, choices)
        (_, alone), of_own = _gradient(net.apply)(own, choices, _IMAGES)
        np.testing.assert_allclose(found, alone, atol=1e-5)
        chex.assert_trees_all_close(net.restrict(gradient, choices), of_own, atol=1e-4, rtol=1e-4)


def test_many_at_once_agree_with_one_at_a_time(searched: Searched) -> None:
    net, weights, architectures, logits, _, _ = searched
    many = jax.jit(jax.vmap(lambda c: net.apply(weights, c, _IMAGES, train=False)[0]))
    np.testing.assert_allclose(many(jnp.asarray(architectures)), np.stack(logits), atol=1e-5)


def test_the_space_of_the_thesis() -> None:
    assert decisions.count(_SPACE().decisions) == 6**4 * 2**6
    assert decisions.count(macro.supernet(_SHAPE, 3).decisions) == 6**12 * 2**66
    small = macro.supernet(_SHAPE, 3, layers=3, operations=("conv3", "max3")).decisions
    assert len(decisions.enumerated(small)) == 2**3 * 2**3
    line = "1: conv3 | 2: max3 | 3: conv3 +1 +2"
    assert decisions.line(small, decisions.parse(small, line)) == line
    priors = [decision.prior for decision in small if decision.prior]
    assert priors == [(0.6, 0.4)] * 3


def test_no_skips_are_a_skip_from_the_layer_before() -> None:
    net = _SPACE()
    plain, named = (
        macro.wiring(4, decisions.parse(net.decisions, line))
        for line in (
            "conv3 | sep3 | max3 | avg3",
            "conv3 | sep3 +1 | max3 +2 | avg3 +3",
        )
    )
    np.testing.assert_array_equal(plain.takes, named.takes)
    assert plain.live.all()


def test_dead_layers() -> None:
    net = _SPACE(pool_at=None)  # after layers 1 and 2
    choices = decisions.parse(net.decisions, "conv3 | conv5 | sep3 | max3 +1")
    weights = net.restrict(net.init(jax.random.key(0)), choices)
    assert set(weights) == {"stem", "head", "1", "4"}
    graph = net.graphs(choices)["network"]
    assert set(graph.nodes) == {"image", "stem", "1", "4", "classes"}
    assert ("1", "4", "1/4") in graph.edges
    traced = jax.jit(functools.partial(macro.wiring, 4))(jnp.asarray(choices))
    np.testing.assert_array_equal(traced.live, [True, True, False, False, True])


def test_a_child_keeps_the_pooling_of_what_it_needs() -> None:
    net = _SPACE(widen=2)
    choices = decisions.parse(net.decisions, "max3 | conv3 +1 | conv3 +1 | conv3 +1 +3")
    own = net.restrict(net.init(jax.random.key(0)), choices)
    assert set(own["pool2"]) == {"1"}
    assert set(own["4"]["squeeze"]["kernels"]) == {"1", "3"}


def test_a_dead_layer_does_not_run() -> None:
    ran = []

    def conv(x: Array, kernel: Array, *arguments: Any, **named: Any) -> Array:
        jax.debug.callback(ran.append, kernel.shape[0])
        return jax.lax.conv_general_dilated(x, kernel, *arguments, **named)

    net = _SPACE(conv=conv, operations=("conv5", "conv3", "max3"))
    weights = net.init(jax.random.key(0))
    choices = decisions.parse(net.decisions, "max3 | conv5 | conv5 | conv5 +1")
    apply = jax.jit(functools.partial(net.apply, train=True))
    jax.block_until_ready(apply(weights, jnp.asarray(choices), _IMAGES))
    jax.effects_barrier()
    assert sorted(int(size) for size in ran) == [3, 5]  # the stem and the last layer


def test_averages_of_a_child_trained_alone() -> None:
    net = _SPACE()
    choices = decisions.parse(net.decisions, "conv3 | sep3 | max3 +1 +2 | conv5")
    weights = net.restrict(_random_weights(net), choices)
    before = normalization.fresh(weights)
    assert set(before) == {"stem/bn", "1/conv3/bn", "2/sep3/bn", "3/squeeze/bn", "4/conv5/bn"}
    trained, after = net.apply(weights, choices, _IMAGES, train=True, averages=before)
    assert all(bool(jnp.all(after[name][0] != before[name][0])) for name in before)
    alone = net.apply(weights, choices, _IMAGES, train=False)[0]
    np.testing.assert_allclose(trained, alone, atol=1e-5)
    batch = jax.tree.map(lambda new, old: 10 * new - 9 * old, after, before)  # decay 0.9
    tested, kept = net.apply(weights, choices, _IMAGES, train=False, averages=batch)
    np.testing.assert_allclose(tested, alone, atol=1e-3)
    chex.assert_trees_all_equal(kept, batch)
    with pytest.raises(ValueError, match="averages: expected None where choices are traced"):
        net.apply(weights, jnp.asarray(choices), _IMAGES, train=True, averages=before)


def test_dropout_needs_a_key() -> None:
    net = _SPACE(dropout=0.5)
    weights, choices = net.init(jax.random.key(0)), np.zeros(len(net.decisions), np.int32)
    call = functools.partial(net.apply, weights, choices, _IMAGES)
    kept = call(train=True)[0]
    np.testing.assert_array_equal(kept, call(train=False, key=jax.random.key(1))[0])
    assert bool(jnp.any(kept != call(train=True, key=jax.random.key(1))[0]))


def test_initial_weights_are_he() -> None:
    weights = macro.supernet(_SHAPE, 3, layers=3, channels=32).init(jax.random.key(0))
    assert float(weights["2"]["conv5"]["kernel"].std()) == pytest.approx(
        (2 / (25 * 32)) ** 0.5, rel=0.05
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"layers": 0}, "layers: expected at least 1"),
        ({"pool_at": (4,)}, "pool_at: expected different layers of 1 to 3"),
        ({"operations": ("conv7",)}, "operations: expected some of"),
        ({"skip_prior": 1.0}, "skip_prior: expected between 0 and 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        _SPACE(**settings)
