"""Convolutions whose gradients are fast on a CPU too, inside a compiled loop.

XLA's CPU backend computes the gradient of a convolution's kernel many times slower inside a
`lax.scan` than outside it (166 ms against 2 for 192 images of 8 x 8 x 16), because there it does
not call its convolution library. Here the gradients are written with operations for which it does:
a product of the input's patches for the kernel, and a plain convolution with the turned kernel for
the input. Other backends keep their own gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

_LAYOUT = ("NHWC", "HWIO", "NHWC")
Pads = tuple[tuple[int, int], tuple[int, int]]
Strides = tuple[int, int]


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
) -> Array:
    """`jax.lax.conv_general_dilated`, for `flax.linen.Conv(conv_general_dilated=...)`.

    Two spatial axes in flax's layout, one group and no dilation get the gradients above; all else
    is passed on.
    """
    dilated = any(each != 1 for each in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    if lhs.ndim != 4 or dilated or feature_group_count != 1 or precision is not None:
        return jax.lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            precision=precision,
        )
    strides = (window_strides[0], window_strides[1])
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    return _conv(lhs, rhs, strides, pads)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(images: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    return jax.lax.conv_general_dilated(images, kernel, strides, pads, dimension_numbers=_LAYOUT)


def _forward(
    images: Array, kernel: Array, strides: Strides, pads: Pads
) -> tuple[Array, tuple[Array, Array]]:
    return _conv(images, kernel, strides, pads), (images, kernel)


def _backward(
    strides: Strides, pads: Pads, residuals: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
    images, kernel = residuals

    def native(images: Array, kernel: Array, grad: Array) -> tuple[Array, Array]:
        conv = functools.partial(
            jax.lax.conv_general_dilated,
            window_strides=strides,
            padding=pads,
            dimension_numbers=_LAYOUT,
        )
        return jax.vjp(conv, images, kernel)[1](grad)

    def by_products(images: Array, kernel: Array, grad: Array) -> tuple[Array, Array]:
        return (
            _of_images(images.shape, kernel, grad, strides, pads),
            _of_kernel(images, kernel.shape, grad, strides, pads),
        )

    return jax.lax.platform_dependent(images, kernel, grad, cpu=by_products, default=native)


def _of_kernel(
    images: Array, shape: tuple[int, ...], grad: Array, strides: Strides, pads: Pads
) -> Array:
    padded = jnp.pad(images, ((0, 0), *pads, (0, 0)))
    _, rows, columns, _ = grad.shape
    patches = [
        padded[
            :,
            i : i + (rows - 1) * strides[0] + 1 : strides[0],
            j : j + (columns - 1) * strides[1] + 1 : strides[1],
        ]
        for i in range(shape[0])
        for j in range(shape[1])
    ]
    stacked = jnp.concatenate(patches, axis=-1)
    product = jnp.tensordot(stacked, grad, axes=((0, 1, 2), (0, 1, 2)))
    return product.reshape(shape)


def _of_images(
    shape: tuple[int, ...], kernel: Array, grad: Array, strides: Strides, pads: Pads
) -> Array:
    if strides != (1, 1):  # zeros between the rows and columns that the strides left out
        count, rows, columns, channels = grad.shape
        size = ((rows - 1) * strides[0] + 1, (columns - 1) * strides[1] + 1)
        wide = jnp.zeros((count, *size, channels), grad.dtype)
        grad = wide.at[:, :: strides[0], :: strides[1]].set(grad)
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    edges = []
    for axis in (0, 1):
        low = kernel.shape[axis] - 1 - pads[axis][0]
        high = shape[1 + axis] + pads[axis][0] - grad.shape[1 + axis]
        edges.append((low, high))
    return jax.lax.conv_general_dilated(grad, turned, (1, 1), edges, dimension_numbers=_LAYOUT)


_conv.defvjp(_forward, _backward)
