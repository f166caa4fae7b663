"""Fully connected networks: TwoMoon's (section 5.3.1) and the reduced teacher's (5.7.14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from mpl.models.network import Network, network


class Perceptron(nn.Module):
    """Hidden layers of the given widths, each with a non-linearity, then logits.

    Attributes:
        widths: of the hidden layers.
        classes: K.
        activation: after each hidden layer.
        scale: weights and biases start from U[-scale, scale]; 0 means flax's (LeCun, zero biases).
    """

    widths: tuple[int, ...]
    classes: int
    activation: Callable[[Array], Array] = nn.relu
    scale: float = 0.0

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "batch ..."], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits; see the class."""
        del train
        x = inputs.reshape(len(inputs), -1)
        for width in self.widths:
            x = self.activation(self._dense(width)(x))
        return self._dense(self.classes)(x)

    def _dense(self, width: int) -> nn.Dense:
        if not self.scale:
            return nn.Dense(width)

        def uniform(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
            return jax.random.uniform(key, shape, dtype, -self.scale, self.scale)

        return nn.Dense(width, kernel_init=uniform, bias_init=uniform)


def perceptron(shape: tuple[int, ...], classes: int, widths: tuple[int, ...]) -> Network:
    """A `Perceptron` with ReLU for inputs of any shape."""
    return network(Perceptron(widths, classes), shape)


def two_moon(scale: float = 0.1) -> Network:
    """The thesis's network of TwoMoon: two hidden layers of 8 sigmoids, U[-0.1, 0.1] (5.3.1).

    Whether biases start from the same interval the thesis does not say; here they do.
    """
    return network(Perceptron((8, 8), 2, nn.sigmoid, scale), (2,))


def reduced_teacher(classes: int, width: int = 128) -> Network:
    """A perceptron of 5 layers that reads a large teacher's distribution (5.7.14).

    Five layers of weights: four hidden ones of `width` units with ReLU, and the logits. The thesis
    has 128 units for CIFAR-10 and SVHN and 512 for ImageNet.
    """
    return perceptron((classes,), classes, (width,) * 4)
