"""The written-out gradients of convolutions against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpl.models import convolution

LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize("size", [(7, 8)])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 2)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", [(1, 1), (0, 2)]])
def test_gradients_equal_xlas(size, kernel, strides, padding):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, *size, 3), np.float32)
    weights = rng.standard_normal((*kernel, 3, 4), np.float32)

    def plain(x, w):
        return jax.lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=LAYOUT)

    def ours(x, w):
        return convolution.conv_general_dilated(x, w, strides, padding, dimension_numbers=LAYOUT)

    shape = jax.eval_shape(plain, images, weights).shape
    grad = rng.standard_normal(shape, np.float32)

    @jax.jit
    def run(grad, *arguments):
        wanted, pull = jax.vjp(plain, *arguments)
        got, pull_ours = jax.vjp(ours, *arguments)
        return got, wanted, pull_ours(grad), pull(grad)

    got, wanted, *gradients = run(grad, images, weights)
    np.testing.assert_array_equal(got, wanted)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_groups_and_dilation_are_passed_on():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 6, 6, 4), np.float32)
    weights = rng.standard_normal((3, 3, 1, 4), np.float32)

    def run(function):
        options = {"dimension_numbers": LAYOUT, "feature_group_count": 4, "rhs_dilation": (2, 2)}

        def loss(images, weights):
            return jnp.sum(function(images, weights, (1, 1), "SAME", **options) ** 2)

        return jax.jit(jax.grad(loss, argnums=1))(images, weights)

    np.testing.assert_array_equal(
        run(convolution.conv_general_dilated), run(jax.lax.conv_general_dilated)
    )
