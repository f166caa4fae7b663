"""The operations of image networks, against the general ones of `jax.lax`."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from enas import layers
from enas.normalization import Norms, fresh

_SHAPE = (2, 5, 6, 3)
# among few values there are many ties
_X = jnp.asarray(np.random.default_rng(0).integers(-3, 4, size=_SHAPE), jnp.float32)
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _plain_conv(x: Array, kernel: Array, stride: int, groups: int = 1) -> Array:
    pads = [(kernel.shape[0] // 2,) * 2] * 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride,) * 2, pads, dimension_numbers=_LAYOUT, feature_group_count=groups
    )


def _plain_bn(x: Array, weights: dict[str, Array]) -> Array:
    mean, var = (f(x, (0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
    scale, offset = (weights[name][None, None, None] for name in ("scale", "offset"))
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + offset


def _plain_max(x: Array, stride: int) -> Array:
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, stride, stride, 1), pads
    )


def _same(found: Callable[..., Array], plain: Callable[..., Array], *arguments: Any) -> None:
    """Values and gradients agree."""
    weigh = jnp.asarray(np.random.default_rng(1).normal(size=plain(*arguments).shape), jnp.float32)
    places = tuple(range(len(arguments)))
    both = [
        jax.jit(jax.value_and_grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a)) * weigh), places))(
            *arguments
        )
        for f in (found, plain)
    ]
    chex.assert_trees_all_close(*both, atol=1e-4)


def _perturbed(weights: Any) -> Any:
    leaves, tree = jax.tree.flatten(weights)
    rng = np.random.default_rng(2)
    noisy = [leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.tree.unflatten(tree, noisy)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 5])
def test_depthwise(size: int, stride: int) -> None:
    kernel = layers.he(jax.random.key(0), (size, size, 1, 3))
    _same(
        lambda x, k: layers.depthwise(x, k, stride),
        lambda x, k: _plain_conv(x, k, stride, 3),
        _X,
        kernel,
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_max_pool_with_ties(stride: int) -> None:
    _same(lambda x: layers.max_pool(x, stride=stride), lambda x: _plain_max(x, stride), _X)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (2, 2)])
def test_average_pool_leaves_padding_out(size: int, stride: int) -> None:
    found = np.asarray(layers.average_pool(_X, stride=stride, size=size))
    before = (size - 1) // 2
    rows, columns = -(-_SHAPE[1] // stride), -(-_SHAPE[2] // stride)
    assert found.shape == (2, rows, columns, 3)
    for i in range(rows):
        for j in range(columns):
            top, left = max(i * stride - before, 0), max(j * stride - before, 0)
            window = _X[:, top : i * stride - before + size, left : j * stride - before + size]
            np.testing.assert_allclose(found[:, i, j], window.mean((1, 2)), atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 2)])
def test_relu_conv_batchnorm(size: int, stride: int) -> None:
    weights = _perturbed(layers.init_conv(jax.random.key(0), size, 3, 4))

    def found(x: Array, weights: Any) -> Array:
        return layers.conv_bn(Norms(None, train=True), "op", weights, x, stride=stride)

    def plain(x: Array, weights: Any) -> Array:
        return _plain_bn(_plain_conv(jax.nn.relu(x), weights["kernel"], stride), weights["bn"])

    _same(found, plain, _X + 0.5, weights)


@pytest.mark.parametrize("twice", [False, True])
def test_separable(twice: bool) -> None:
    weights = _perturbed(layers.init_separable(jax.random.key(0), 3, 3, 4, twice=twice))

    def found(x: Array, weights: Any) -> Array:
        return layers.separable_bn(Norms(None, train=True), "op", weights, x, stride=2)

    def once(x: Array, weights: Any, stride: int) -> Array:
        y = _plain_conv(jax.nn.relu(x), weights["depth"], stride, x.shape[-1])
        return _plain_bn(_plain_conv(y, weights["point"], 1), weights["bn"])

    def plain(x: Array, weights: Any) -> Array:
        if not twice:
            return once(x, weights, 2)
        return once(once(x, weights["first"], 2), weights["second"], 1)

    _same(found, plain, _X + 0.5, weights)


@pytest.mark.parametrize("relu_first", [False, True])
def test_project_is_a_convolution_of_the_concatenation(relu_first: bool) -> None:
    parts = {"a": _X + 0.5, "b": 2.0 * _X[..., :2] - 0.5, "c": _X[..., ::-1] - 0.3}
    weights = _perturbed(layers.init_project(jax.random.key(0), {"a": 3, "b": 2, "c": 3}, 4))

    def found(parts: Any, weights: Any, chosen: Any) -> Array:
        return layers.project_bn(
            Norms(None, train=True), "op", weights, parts, chosen, relu_first=relu_first
        )[0]

    def plain(parts: Any, weights: Any) -> Array:
        both = jnp.concatenate([parts["a"], parts["c"]], -1)
        kernel = jnp.concatenate([weights["kernels"]["a"], weights["kernels"]["c"]])
        both = jax.nn.relu(both) if relu_first else both
        return _plain_bn(_plain_conv(both, kernel[None, None], 1), weights["bn"])

    _same(lambda p, w: found(p, w, {"a": 1, "b": 0, "c": 1}), plain, parts, weights)
    traced = {"a": jnp.int32(1), "b": jnp.int32(0), "c": jnp.int32(1)}
    _same(lambda p, w: found(p, w, traced), plain, parts, weights)


def test_initialisation_is_he() -> None:
    kernel = layers.init_conv(jax.random.key(0), 3, 40, 50)["kernel"]
    assert float(kernel.std()) == pytest.approx((2 / 360) ** 0.5, rel=0.03)
    depth = layers.init_separable(jax.random.key(1), 5, 400, 2, twice=False)["depth"]
    assert float(depth.std()) == pytest.approx((2 / 25) ** 0.5, rel=0.03)
    kernels = layers.init_project(jax.random.key(2), {"a": 60, "b": 20}, 100)["kernels"]
    assert float(jnp.concatenate(list(kernels.values())).std()) == pytest.approx(
        (2 / 80) ** 0.5, rel=0.03
    )


def test_averages_bear_the_names_of_weights() -> None:
    weights = {"1": {"sep3": layers.init_separable(jax.random.key(0), 3, 3, 3, twice=True)}}
    norms = Norms(fresh(weights), train=True)
    layers.separable_bn(norms, "1/sep3", weights["1"]["sep3"], _X)
    assert norms.after is not None
    moved = {name for name, (mean, _) in norms.after.items() if bool(jnp.any(mean))}
    assert moved == {"1/sep3/first/bn", "1/sep3/second/bn"}


def test_weights_of_a_projection_are_made_under_a_trace():
    def make(key):
        return layers.init_project(key, {"stem": 2, "1": 3}, 4)

    made = jax.eval_shape(make, jax.random.key(0))
    assert {name: kernel.shape for name, kernel in made["kernels"].items()} == {
        "stem": (2, 4),
        "1": (3, 4),
    }
