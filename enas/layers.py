"""The operations that image networks choose from (Pham 2021, sections 4.2.3, 4.2.4 and 4.3.2).

Every convolution is applied as ReLU, convolution, batch normalization, in that order (section
4.3.2). Images are float32 `[batch, height, width, channels]`; windows are centred, so that stride 1
keeps height and width and stride 2 halves them, rounded up.

Depthwise convolutions and max pooling are written as sums and maxima of shifted images, with
gradients of the same kind: on a CPU, forward and backward, that is several times faster than the
general operations. Where a convolution's own gradients are slow (in loops on a CPU), a caller
passes another `conv`, of the signature of `jax.lax.conv_general_dilated`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from enas import normalization
from enas.branches import kept, switch
from enas.normalization import Norms

Weights = dict[str, Any]
Images = Float[Array, "batch _ _ _"]  # batch, height, width, channels
Conv = Callable[..., Array]

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def he(key: Array, shape: Sequence[int]) -> Array:
    """He initialisation: normal, of variance 2 over the number of inputs of an output.

    Args:
        key: PRNG key; consumed.
        shape: of a kernel, `(height, width, inputs, outputs)`; of a depthwise one `inputs` is 1.
    """
    deviation = math.sqrt(2.0 / math.prod(shape[:-1]))
    return deviation * jax.random.normal(key, tuple(shape))


def init_conv(key: Array, size: int, c_in: int, c_out: int) -> Weights:
    """Weights of `conv_bn`: `{"kernel" [size, size, c_in, c_out], "bn"}`.

    Args:
        key: PRNG key; consumed.
        size: side of the window, odd.
        c_in: channels that come in.
        c_out: channels that go out.
    """
    return {"kernel": he(key, (size, size, c_in, c_out)), "bn": normalization.init(c_out)}


def convolve(x: Images, kernel: Array, *, stride: int = 1, conv: Conv | None = None) -> Images:
    """A convolution with a centred window, whose result branches keep.

    One of 1 x 1 is a product of matrices, whose gradients take a half of the time in a loop on a
    CPU; unless `conv` is given.
    """
    if conv is None and kernel.shape[:2] == (1, 1):
        return kept(x[:, ::stride, ::stride] @ kernel[0, 0])
    pads = [(kernel.shape[0] // 2,) * 2, (kernel.shape[1] // 2,) * 2]
    conv = conv or jax.lax.conv_general_dilated
    return kept(conv(x, kernel, (stride, stride), pads, dimension_numbers=_LAYOUT))


def conv_bn(
    norms: Norms,
    name: str,
    weights: Mapping[str, Any],
    x: Images,
    *,
    stride: int = 1,
    conv: Conv | None = None,
) -> Images:
    """ReLU, convolution, batch normalization.

    Args:
        norms: the normalizations of this call.
        name: where the weights stand, "node/operation".
        weights: from `init_conv`.
        x: images.
        stride: 1, or 2 to halve height and width.
        conv: convolution, `jax.lax.conv_general_dilated` unless given.
    """
    y = convolve(jax.nn.relu(x), weights["kernel"], stride=stride, conv=conv)
    return norms(f"{name}/bn", weights["bn"], y)


def init_separable(key: Array, size: int, c_in: int, c_out: int, *, twice: bool) -> Weights:
    """Weights of `separable_bn`: `{"depth", "point", "bn"}`, or these in `{"first", "second"}`.

    Args:
        key: PRNG key; consumed.
        size: side of the depthwise window, odd.
        c_in: channels that come in.
        c_out: channels that go out.
        twice: two of them in a row, as in the micro space (section 4.3.2).
    """
    if twice:
        first, second = jax.random.split(key)
        return {
            "first": init_separable(first, size, c_in, c_out, twice=False),
            "second": init_separable(second, size, c_out, c_out, twice=False),
        }
    depth, point = jax.random.split(key)
    return {
        "depth": he(depth, (size, size, 1, c_in)),
        "point": he(point, (1, 1, c_in, c_out)),
        "bn": normalization.init(c_out),
    }


def separable_bn(
    norms: Norms,
    name: str,
    weights: Mapping[str, Any],
    x: Images,
    *,
    stride: int = 1,
    conv: Conv | None = None,
) -> Images:
    """ReLU, depthwise convolution, pointwise convolution, batch normalization.

    All of it twice where the weights are those of two, the first with the stride.

    Args:
        norms: the normalizations of this call.
        name: where the weights stand, "node/operation".
        weights: from `init_separable`.
        x: images.
        stride: 1, or 2 to halve height and width.
        conv: convolution for the pointwise part.
    """
    if "first" in weights:
        x = separable_bn(norms, f"{name}/first", weights["first"], x, stride=stride, conv=conv)
        return separable_bn(norms, f"{name}/second", weights["second"], x, conv=conv)
    y = kept(depthwise(jax.nn.relu(x), weights["depth"], stride))
    return norms(f"{name}/bn", weights["bn"], convolve(y, weights["point"], conv=conv))


def _shifted(x: Images, size: int, stride: int, fill: float) -> list[Images]:
    """What stands at each place of the windows, in row-major order of the places."""
    edge = size // 2
    rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    padded = jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)), constant_values=fill)
    return [
        padded[
            :,
            i : i + (rows - 1) * stride + 1 : stride,
            j : j + (columns - 1) * stride + 1 : stride,
        ]
        for i in range(size)
        for j in range(size)
    ]


def _spread(grad: Images, shape: tuple[int, ...], stride: int, fill: float) -> Images:
    """A gradient of strided windows at the places of their centres, among `shape` of them."""
    if stride == 1:
        return grad
    edges = [
        (0, n - (m - 1) * stride - 1) for n, m in zip(shape[1:3], grad.shape[1:3], strict=True)
    ]
    spaced = [(low, high, stride - 1) for low, high in edges]
    value = jnp.asarray(fill, grad.dtype)
    return jax.lax.pad(grad, value, [(0, 0, 0), *spaced, (0, 0, 0)])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(x: Images, kernel: Float[Array, "size size 1 channels"], stride: int = 1) -> Images:
    """A convolution of each channel with its own window, of an odd side."""
    rows = kernel.reshape(-1, 1, 1, 1, kernel.shape[-1])
    places = _shifted(x, kernel.shape[0], stride, 0.0)
    return functools.reduce(jnp.add, [part * row for part, row in zip(places, rows, strict=True)])


def _depthwise_forward(x: Images, kernel: Array, stride: int) -> tuple[Images, tuple[Any, ...]]:
    return depthwise(x, kernel, stride), (x, kernel)


def _depthwise_backward(
    stride: int, residuals: tuple[Any, ...], grad: Images
) -> tuple[Images, Array]:
    x, kernel = residuals
    places = _shifted(x, kernel.shape[0], stride, 0.0)
    of_kernel = jnp.stack([jnp.sum(part * grad, (0, 1, 2)) for part in places])
    of_x = depthwise(_spread(grad, x.shape, stride, 0.0), kernel[::-1, ::-1], 1)
    return of_x, of_kernel.reshape(kernel.shape)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def max_pool(x: Images, *, stride: int = 1) -> Images:
    """The largest of each 3 x 3 window, of what is inside of the image.

    Where several are largest, the first of them in row-major order gets the gradient, as with
    `jax.lax.reduce_window`.
    """
    return _max_pool(x, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: Images, stride: int) -> Images:
    return functools.reduce(jnp.maximum, _shifted(x, 3, stride, -jnp.inf))


def _max_forward(x: Images, stride: int) -> tuple[Images, Images]:
    return _max_pool(x, stride), x


def _max_backward(stride: int, x: Images, grad: Images) -> tuple[Images]:
    places = _shifted(x, 3, stride, -jnp.inf)
    largest = functools.reduce(jnp.maximum, places)
    first = jnp.full(grad.shape, 8.0, grad.dtype)
    for place in reversed(range(8)):
        first = jnp.where(places[place] == largest, float(place), first)
    firsts = _shifted(_spread(first, x.shape, stride, -1.0), 3, 1, -1.0)
    grads = _shifted(_spread(grad, x.shape, stride, 0.0), 3, 1, 0.0)
    # a pixel is at place p of the window whose centre is at place 8 - p of the pixel's own window
    parts = [jnp.where(firsts[8 - p] == p, grads[8 - p], 0.0) for p in range(9)]
    return (functools.reduce(jnp.add, parts),)


_max_pool.defvjp(_max_forward, _max_backward)


def average_pool(x: Images, *, stride: int = 1, size: int = 3) -> Images:
    """The mean of each window, of what is inside of the image (padding is not counted)."""

    def total(x: Array) -> Array:
        edges = ((size - 1) // 2, size // 2)
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        pads = ((0, 0), edges, edges, (0, 0))
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, pads)

    return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))


def init_project(key: Array, channels: Mapping[str, int], c_out: int) -> Weights:
    """Weights of `project_bn`: `{"kernels": {part: [channels of it, c_out]}, "bn"}`.

    Args:
        key: PRNG key; consumed.
        channels: of each feature map that may be among the concatenated, by its name.
        c_out: channels that go out.
    """
    kernel = he(key, (sum(channels.values()), c_out))
    ends = itertools.accumulate(channels.values())
    kernels = {
        name: kernel[end - width : end]
        for (name, width), end in zip(channels.items(), ends, strict=True)
    }
    return {"kernels": kernels, "bn": normalization.init(c_out)}


def project(
    kernels: Mapping[str, Array],
    parts: Mapping[str, Images],
    how: Mapping[str, Any],
    start: Images,
    *,
    relu: bool = False,
) -> tuple[Images, dict[str, Images]]:
    """A 1 x 1 convolution of the concatenation of some feature maps, as a sum over these.

    The kernel of a concatenation is that of its parts above each other, so no feature map of
    variable width is needed, and only the products of chosen parts run.

    Args:
        kernels: float32 `[channels, c_out]` by part; of those that a constant leaves out, none.
        parts: feature maps of one height and width.
        how: of each part, 0: left out; 1: its product is added; 2: it is the result as it is
            (where it is the only one). Integers when the child alone is compiled, or traced.
        start: float32 `[batch, height, width, c_out]`, what is added to: zeros.
        relu: whether parts go through a ReLU first.

    Returns:
        The sum, and the parts again. Whoever reads the parts afterwards should take these: the
        gradients of all readers are then added up along one chain, in which a reader that was not
        chosen costs nothing.
    """

    def skip(total: Images, part: Images, kernel: Array | None) -> tuple[Images, Images]:
        return total, part

    def add(total: Images, part: Images, kernel: Array) -> tuple[Images, Images]:
        return total + (jax.nn.relu(part) if relu else part) @ kernel, part

    def take(total: Images, part: Images, kernel: Array | None) -> tuple[Images, Images]:
        return part, part

    total, after = start, dict(parts)
    for name, part in parts.items():
        branches = (skip, add, take) if part.shape == start.shape else (skip, add)
        total, after[name] = switch(how[name], branches, total, part, kernels.get(name))
    return total, after


def project_bn(
    norms: Norms,
    name: str,
    weights: Mapping[str, Any],
    parts: Mapping[str, Images],
    chosen: Mapping[str, Any],
    *,
    relu_first: bool = True,
) -> tuple[Images, dict[str, Images]]:
    """The chosen feature maps concatenated, a 1 x 1 convolution of that, batch normalization.

    Args:
        norms: the normalizations of this call.
        name: where the weights stand.
        weights: from `init_project`.
        parts: feature maps of one height and width.
        chosen: 0 or 1 of each part; integers when the child alone is compiled, or traced.
        relu_first: with a ReLU before the convolution.

    Returns:
        The result, and the parts again (`project` says what for).
    """
    some = next(iter(parts.values()))
    start = jnp.zeros((*some.shape[:3], *weights["bn"]["scale"].shape), some.dtype)
    total, parts = project(weights["kernels"], parts, chosen, start, relu=relu_first)
    return norms(f"{name}/bn", weights["bn"], total), parts
