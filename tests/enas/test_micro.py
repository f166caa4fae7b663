"""Networks of convolutional cells: the supernet's children against networks written out."""

import functools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from enas import decisions, normalization
from enas.spaces import micro
from enas.supernet import Supernet

_SHAPE = (8, 7, 3)
_SPACE = functools.partial(
    micro.supernet, _SHAPE, 3, nodes=4, cells=1, blocks=2, channels=4, auxiliary_channels=(3, 5)
)
_IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, *_SHAPE)), jnp.float32)
_SMALL = functools.partial(_SPACE, nodes=3, blocks=1)
_OPERATIONS = ("identity", "sep3", "sep5", "avg3", "max3")
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _random_weights(net: Supernet) -> Any:
    """No two the same, so that no exchange of weights goes unseen."""
    leaves, tree = jax.tree.flatten(net.init(jax.random.key(0)))
    rng = np.random.default_rng(1)
    noisy = [np.asarray(leaf) + 0.2 * rng.normal(size=leaf.shape) for leaf in leaves]
    return jax.tree.unflatten(tree, [jnp.asarray(leaf, jnp.float32) for leaf in noisy])


def _loss(apply: Any, weights: Any, choices: Any) -> tuple[Array, Any]:
    outputs = apply(weights, choices, _IMAGES, train=True)[0]
    total = sum(jnp.sum(jnp.sin(x) * jnp.arange(1.0, 4.0)[None]) for x in jax.tree.leaves(outputs))
    return total, outputs


def _gradient(apply: Any) -> Any:
    return jax.value_and_grad(functools.partial(_loss, apply), has_aux=True)


# a network written out, one architecture at a time; its pieces are compiled, for they recur


def _norm(x: Array, weights: Any) -> Array:
    mean, var = (f(x, (0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
    scale, offset = (weights[name][None, None, None] for name in ("scale", "offset"))
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + offset


def _conv(x: Array, kernel: Array, stride: int = 1, groups: int = 1) -> Array:
    pad = (kernel.shape[0] // 2,) * 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride,) * 2, [pad] * 2, dimension_numbers=_LAYOUT, feature_group_count=groups
    )


def _window(x: Array, start: float, combine: Any, stride: int) -> Array:
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, start, combine, (1, 3, 3, 1), (1, stride, stride, 1), pads)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _squeeze(x: Array, own: Any, names: tuple[str, ...], stride: int = 1) -> Array:
    kernel = jnp.concatenate([own["kernels"][name] for name in names])
    return _norm(_conv(jnp.maximum(x, 0.0), kernel[None, None], stride), own["bn"])


@functools.partial(jax.jit, static_argnums=(0, 3))
def _operation(name: str, own: Any, x: Array, stride: int) -> Array:
    if name == "max3":
        return _window(x, -jnp.inf, jax.lax.max, stride)
    if name == "avg3":
        total = _window(x, 0.0, jax.lax.add, stride)
        return total / _window(jnp.ones_like(x), 0.0, jax.lax.add, stride)
    if name == "identity" and stride == 1:
        return x
    if name == "identity":
        return _norm(_conv(jnp.maximum(x, 0.0), own["kernel"], 2), own["bn"])
    for part in ("first", "second"):
        assert own[part]["depth"].shape[0] == int(name[-1])
        x = _conv(jnp.maximum(x, 0.0), own[part]["depth"], stride, x.shape[-1])
        x, stride = _norm(_conv(x, own[part]["point"]), own[part]["bn"]), 1
    return x


def _plain_cell(weights: Any, cell: str, kind: str, choices: Any, maps: list[Array]) -> Any:
    taken = set()
    for node, (a, op_a, b, op_b) in enumerate(choices.reshape(-1, 4).tolist(), 3):
        total = 0.0
        for slot, before, operation in (("a", a, op_a), ("b", b, op_b)):
            name = _OPERATIONS[operation]
            own = weights[f"{kind}{node}"].get(f"{slot}_{name}", {}).get(cell)
            if own is not None and not (name == "identity" and before > 1):
                own = jax.tree.map(lambda leaf, before=before: leaf[before], own)
            stride = 2 if kind == "reduce" and before < 2 else 1
            total = total + _operation(name, own, maps[before], stride)
            taken.add(before)
        maps = [*maps, total]
    names = tuple(str(node) for node in range(3, len(maps) + 1) if node - 1 not in taken)
    return jnp.concatenate([maps[int(name) - 1] for name in names], -1), names


def _plain(weights: Any, choices: np.ndarray, images: Array, *, train: bool = True) -> Any:
    """Cells normal, reduce, normal, reduce, as many as there are; the extra head reads cell1."""
    x = _stem(weights["stem"], images)
    old = new = (x, ("3",))
    heads = []
    for cell, kind in zip(weights["calibrate"], ("normal", "reduce") * 2, strict=False):
        own = weights["calibrate"][cell]
        stride = 2 if old[0].shape[1] > new[0].shape[1] else 1
        maps = [_squeeze(old[0], own["old"], old[1], stride)]
        maps += [_squeeze(new[0], own["new"], new[1])]
        half = np.split(choices, 2)[0 if kind == "normal" else 1]
        old, new = new, _plain_cell(weights, cell, kind, half, maps)
        if "auxiliary" in weights and cell == "cell1":
            heads = [_plain_auxiliary(weights["auxiliary"], *new)]
    logits = _plain_dense(weights["dense"], *new)
    return ((logits, *heads) if heads else logits), None


@jax.jit
def _stem(weights: Any, images: Array) -> Array:
    return _norm(_conv(images, weights["kernel"]), weights["bn"])


@functools.partial(jax.jit, static_argnums=2)
def _plain_dense(weights: Any, x: Array, names: tuple[str, ...]) -> Array:
    kernel = jnp.concatenate([weights["kernel"][int(name) - 3] for name in names])
    return jnp.maximum(x, 0.0).mean((1, 2)) @ kernel + weights["bias"][None]


@functools.partial(jax.jit, static_argnums=2)
def _plain_auxiliary(own: Any, x: Array, names: tuple[str, ...]) -> Array:
    x = jnp.maximum(x, 0.0)  # of 8 x 7, in which two windows of 5 x 5 lie 3 apart
    x = jnp.stack([x[:, :5, :5].mean((1, 2)), x[:, 3:, :5].mean((1, 2))], 1)[:, :, None]
    x = jnp.maximum(_squeeze(x, own["project"], names), 0.0)
    kernel = own["conv"]["kernel"]
    x = sum(x[:, row] @ kernel[row, 0] for row in range(2))[:, None]
    x = jnp.maximum(_norm(x, own["conv"]["bn"]), 0.0)[:, 0, 0]
    return x @ own["dense"]["kernel"][0] + own["dense"]["bias"][None]


class Searched(NamedTuple):
    """Children of the space as it is searched, from one compiled program."""

    net: Supernet
    weights: Any
    architectures: list[np.ndarray]
    results: list[Any]
    traces: int


_TEXTS = (
    "2 sep3 1 max3 | 3 sep5 2 identity | 1 identity 2 sep3 | 1 sep5 3 avg3",
    "2 sep5 2 identity | 3 avg3 1 sep3 | 1 max3 1 avg3 | 2 identity 3 sep3",
    "1 identity 1 sep5 | 1 max3 2 avg3 | 2 sep5 1 identity | 2 max3 1 sep3",
)


def _search(count: int) -> Searched:
    net, traced = _SPACE(), []

    def gradient(weights: Any, choices: Array) -> Any:
        traced.append(choices)
        return _gradient(net.apply)(weights, choices)

    weights, compiled = _random_weights(net), jax.jit(gradient)
    architectures = [decisions.parse(net.decisions, text) for text in _TEXTS]
    architectures += list(np.asarray(decisions.guided(net.decisions, jax.random.key(2), count)))
    results = [jax.device_get(compiled(weights, jnp.asarray(each))) for each in architectures]
    return Searched(net, weights, architectures, results, len(traced))


@pytest.fixture(scope="module")
def searched() -> Searched:
    return _search(5)


def _paths(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def _check_children(searched: Searched) -> None:
    assert searched.traces == 1
    for choices, ((_, logits), grads) in zip(searched.architectures, searched.results, strict=True):
        (_, expected), plain = _gradient(_plain)(searched.weights, choices)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(plain))
        chex.assert_trees_all_close(grads, plain, rtol=1e-4, atol=1e-4 * scale)
        used = _paths(searched.net.restrict(searched.weights, choices))
        unused = [grad for path, grad in _paths(grads).items() if path not in used]
        assert unused
        assert not any(np.any(grad) for grad in unused)


def test_children_equal_networks_written_out(searched):
    _check_children(searched)


@pytest.mark.slow
def test_fifty_children_equal_networks_written_out():
    _check_children(_search(50))


def test_rows_of_inputs_that_are_not_taken_get_no_gradient(searched):
    grads = searched.results[0][1]  # of the first of _TEXTS
    taken = {("normal3", "a_sep3"): 1, ("normal4", "a_sep5"): 2, ("reduce3", "a_identity"): 0}
    taken |= {("reduce3", "b_sep3"): 1, ("reduce4", "a_sep5"): 0}
    for node in ("normal3", "normal4", "reduce3", "reduce4"):
        for key, own in grads[node].items():
            for leaf in jax.tree.leaves(own):
                rows = np.flatnonzero(np.any(np.asarray(leaf).reshape(len(leaf), -1), 1))
                assert set(rows) <= {taken.get((node, key))}, (node, key)
            if (node, key) in taken:
                assert any(np.any(leaf) for leaf in jax.tree.leaves(own)), (node, key)


def _applied(net: Supernet, choices: Any = None, **settings: Any) -> Any:
    """Compiled, for constant choices or for any."""
    apply = functools.partial(net.apply, **({"train": True} | settings))
    if choices is None:
        return jax.jit(lambda weights, each: apply(weights, each, _IMAGES)[0])
    return jax.jit(lambda weights, **rest: apply(weights, choices, _IMAGES, **rest))


def test_a_child_alone_is_the_same_by_weights_of_its_own(searched):
    choices, ((_, logits), _) = searched.architectures[0], searched.results[0]
    child = searched.net.restrict(searched.weights, choices)
    outputs, after = _applied(searched.net, choices)(child)
    np.testing.assert_allclose(outputs, logits, rtol=1e-4, atol=1e-5)
    assert after is None
    few, many = (sum(map(np.size, jax.tree.leaves(x))) for x in (child, searched.weights))
    assert few < many / 3


def test_a_constant_reads_its_part_of_all_weights():
    net = _SMALL()
    weights, choices = (
        _random_weights(net),
        decisions.parse(net.decisions, "2 sep3 1 max3 | 1 identity 2 avg3"),
    )
    child = net.restrict(weights, choices)
    apply = _applied(net, choices)
    np.testing.assert_array_equal(apply(weights)[0], apply(child)[0])


def test_many_architectures_at_once():
    net = _SMALL()
    weights, apply = _random_weights(net), _applied(net)
    many = decisions.guided(net.decisions, jax.random.key(2), 4)
    together = jax.jit(jax.vmap(apply, (None, 0)))(weights, many)
    assert together.shape == (4, 3, 3)
    for each, logits in zip(many, together, strict=True):
        np.testing.assert_allclose(logits, apply(weights, each), rtol=1e-5, atol=1e-5)


def test_averages_are_kept_where_a_child_is_trained_alone():
    net = _SMALL()
    choices = decisions.parse(net.decisions, "2 sep3 1 max3 | 1 identity 2 avg3")
    weights = _random_weights(net)
    child = net.restrict(weights, choices)
    start = normalization.fresh(child)
    assert {"calibrate/cell2/old/bn", "reduce3/a_identity/cell2/bn"} < set(start)
    _, after = _applied(net, choices)(child, averages=start)
    assert after.keys() == start.keys()
    for name, (mean, var) in after.items():
        assert np.any(mean != start[name][0]), name
        assert np.any(var != start[name][1]), name
    evaluate = _applied(net, choices, train=False)
    logits, same = evaluate(child, averages=after)
    chex.assert_trees_all_equal(same, after)
    other, _ = evaluate(child, averages=start)
    assert np.any(np.abs(other - logits) > 1e-3)
    with pytest.raises(ValueError, match="averages: expected None"):
        net.apply(weights, jnp.asarray(choices), _IMAGES, train=True, averages=start)


def test_the_auxiliary_head():
    net = _SMALL(auxiliary=1)
    weights = _random_weights(net)
    choices = decisions.parse(net.decisions, "2 sep3 1 max3 | 1 identity 2 avg3")
    expected, _ = _plain(weights, choices, _IMAGES)
    for outputs in (_applied(net, choices)(weights)[0], _applied(net)(weights, choices)):
        assert len(outputs) == 2
        chex.assert_trees_all_close(outputs, expected, rtol=1e-4, atol=1e-4)


def test_dropped_paths_and_features():
    net = _SMALL(drop_path=0.5, drop_rate=0.5)
    choices = decisions.parse(net.decisions, "1 identity 2 avg3 | 1 avg3 2 max3")
    weights = _random_weights(net)
    apply = jax.jit(functools.partial(net.apply, train=True))
    constant = _applied(net, choices)
    first, second = (constant(weights, key=jax.random.key(seed))[0] for seed in range(2))
    assert np.any(np.abs(first - second) > 1e-3)
    alike, _ = apply(weights, choices, _IMAGES, key=jax.random.key(0))
    np.testing.assert_allclose(alike, first, rtol=1e-4, atol=1e-5)
    kept, _ = constant(weights)
    np.testing.assert_allclose(kept, _plain(weights, choices, _IMAGES)[0], rtol=1e-4, atol=1e-5)


def test_identities_are_never_dropped():
    space = functools.partial(_SMALL, last_reduction=False)
    text = "1 identity 2 identity | 1 max3 1 max3"
    net, plain = space(drop_path=0.9), space()
    choices = decisions.parse(net.decisions, text)
    weights = net.init(jax.random.key(0))
    dropped, _ = _applied(net, choices)(weights, key=jax.random.key(1))
    kept, _ = _applied(plain, choices)(weights)
    np.testing.assert_array_equal(dropped, kept)


@pytest.mark.parametrize("nodes", [3, 4])
def test_count_of_small_spaces(nodes):
    half = micro.decisions(nodes)[: 4 * (nodes - 2)]
    cells = (5 ** (nodes - 2) * math.factorial(nodes - 1)) ** 2
    assert len({tuple(each) for each in decisions.enumerated(half)}) == cells
    assert decisions.count(micro.decisions(nodes)) == cells**2


def test_count_of_the_whole_space():
    exact = (5**5 * math.factorial(6)) ** 4
    assert decisions.count(micro.decisions(7)) == exact
    assert f"{exact:.3g} {math.isqrt(exact):.3g}" == "2.56e+25 5.06e+12"


def test_an_architecture_as_a_line(searched):
    space = searched.net.decisions
    decisions.check(space)
    choices = np.array([1, 2, 1, 0, 2, 3, 0, 1, 0, 4, 0, 4, 1, 0, 1, 0], np.int32)
    text = (
        "normal3: 2 sep5 2 identity | normal4: 3 avg3 1 sep3"
        " | reduce3: 1 max3 1 max3 | reduce4: 2 identity 2 identity"
    )
    assert decisions.line(space, choices) == text
    for each in (choices, *searched.architectures[:10]):
        np.testing.assert_array_equal(decisions.parse(space, decisions.line(space, each)), each)


def test_graphs(searched):
    text = "2 sep5 2 identity | 3 avg3 1 sep3 | 1 max3 1 max3 | 2 identity 2 sep3"
    graphs = searched.net.graphs(decisions.parse(searched.net.decisions, text))
    assert set(graphs) == {"normal", "reduce"}
    assert list(graphs["normal"].nodes) == ["h[-2]", "h[-1]", "3", "4", "output"]
    assert graphs["normal"].edges == (
        ("h[-1]", "3", "sep5"),
        ("h[-1]", "3", "identity"),
        ("3", "4", "avg3"),
        ("h[-2]", "4", "sep3"),
        ("4", "output", ""),
    )
    assert graphs["reduce"].edges[-2:] == (("3", "output", ""), ("4", "output", ""))


@pytest.mark.parametrize("last_reduction", [True, False])
def test_a_network_of_blocks(last_reduction):
    net = micro.supernet(
        (9, 9, 1), 2, nodes=3, cells=2, blocks=2, channels=2, last_reduction=last_reduction
    )
    weights = net.init(jax.random.key(0))
    assert len(weights["calibrate"]) == (6 if last_reduction else 5)
    assert set(weights["reduce3"]["a_sep3"]) == (
        {"cell3", "cell6"} if last_reduction else {"cell3"}
    )
    assert weights["dense"]["kernel"].shape == (1, 8 if last_reduction else 4, 2)
    choices = decisions.parse(net.decisions, "1 max3 2 avg3 | 1 identity 2 identity")
    logits, _ = net.apply(weights, choices, jnp.ones((1, 9, 9, 1)), train=True)
    assert logits.shape == (1, 2)


def test_he_initialisation():
    net = micro.supernet((8, 8, 3), 10, nodes=5, cells=1, blocks=1, channels=32)
    weights = net.init(jax.random.key(0))
    own = weights["normal5"]["a_sep5"]["cell1"]["first"]
    assert own["depth"].shape == (4, 5, 5, 1, 32)
    np.testing.assert_allclose(np.std(own["depth"]), math.sqrt(2 / 25), rtol=0.1)
    np.testing.assert_allclose(np.std(own["point"]), math.sqrt(2 / 32), rtol=0.1)
    assert np.all(np.asarray(own["bn"]["scale"]) == 1)
    stem = weights["stem"]["kernel"]
    np.testing.assert_allclose(np.std(stem), math.sqrt(2 / 27), rtol=0.15)
    assert len(np.unique(own["depth"])) == own["depth"].size


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"nodes": 2}, "nodes: expected at least 3, got 2"),
        ({"cells": 0}, "cells: expected at least 1, got 0"),
        ({"auxiliary": 5}, "auxiliary: expected a cell from 1 to 4, got 5"),
        ({"drop_path": 1.0}, "drop_path: expected a rate from 0 to below 1"),
    ],
)
def test_settings_that_are_refused(setting, words):
    with pytest.raises(ValueError, match=words):
        _SPACE(**setting)
