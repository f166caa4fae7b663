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
    keys = jax.random.split(jax.random.key(0), 3)
    images = jax.random.normal(keys[0], (2, *size, 3))
    weights = jax.random.normal(keys[1], (*kernel, 3, 4))

    def plain(x, w):
        return jax.lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=LAYOUT)

    def ours(x, w):
        return convolution.conv_general_dilated(x, w, strides, padding, dimension_numbers=LAYOUT)

    wanted, pull = jax.vjp(plain, images, weights)
    got, pull_ours = jax.vjp(ours, images, weights)
    np.testing.assert_array_equal(got, wanted)
    grad = jax.random.normal(keys[2], wanted.shape)
    for one, other in zip(pull_ours(grad), pull(grad), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_groups_and_dilation_are_passed_on():
    images = jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
    weights = jax.random.normal(jax.random.key(1), (3, 3, 1, 4))

    def run(function):
        options = {"dimension_numbers": LAYOUT, "feature_group_count": 4, "rhs_dilation": (2, 2)}
        return jax.grad(lambda w: jnp.sum(function(images, w, (1, 1), "SAME", **options) ** 2))(
            weights
        )

    np.testing.assert_array_equal(
        run(convolution.conv_general_dilated), run(jax.lax.conv_general_dilated)
    )
