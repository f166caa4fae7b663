"""Wide residual networks (Zagoruyko and Komodakis 2016); WideResNet-28-2 in section 5.3.2."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mpl.models.convolution import conv_general_dilated
from mpl.models.network import Network, network

_HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class WideResNet(nn.Module):
    """Pre-activation residual blocks in three groups of widths 16k, 32k and 64k.

    Attributes:
        depth: 6 n + 4, for n blocks a group.
        width: k.
        classes: K.
        dropout: rate before the logits (the thesis's "dropout rate"; it does not say where).
        decay: of batch normalization's averages (0.99 in the thesis).
        base: channels before widening, 16; fewer make a network for a laptop.
    """

    depth: int
    width: int
    classes: int
    dropout: float = 0.0
    decay: float = 0.99
    base: int = 16

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channel"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits; see the class."""
        blocks, rest = divmod(self.depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth: expected 6 n + 4 with n >= 1, got {self.depth}")
        x = _conv(self.base)(images)
        for group in range(3):
            channels = self.base * self.width * 2**group
            for block in range(blocks):
                stride = 2 if group and not block else 1
                x = self._block(x, channels, stride, train)
        x = nn.relu(self._norm(x, train))
        x = jnp.mean(x, axis=(1, 2))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes)(x)

    def _block(self, x: Array, channels: int, stride: int, train: bool) -> Array:
        y = nn.relu(self._norm(x, train))
        # Where the shape changes, the shortcut starts behind the first activation.
        if x.shape[-1] != channels or stride != 1:
            x = _conv(channels, 1, stride)(y)
        y = _conv(channels, 3, stride)(y)
        y = nn.relu(self._norm(y, train))
        return x + _conv(channels)(y)

    def _norm(self, x: Array, train: bool) -> Array:
        return nn.BatchNorm(use_running_average=not train, momentum=self.decay)(x)


def _conv(channels: int, kernel: int = 3, stride: int = 1) -> nn.Conv:
    # Written-out padding: "SAME" would shift a stride of two by half a pixel on even sizes.
    padding = [(kernel // 2, kernel // 2)] * 2
    return nn.Conv(
        channels,
        (kernel, kernel),
        (stride, stride),
        padding,
        use_bias=False,
        kernel_init=_HE,
        conv_general_dilated=conv_general_dilated,
    )


def wide_resnet(
    shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    *,
    depth: int = 28,
    width: int = 2,
    dropout: float = 0.0,
    decay: float = 0.99,
    base: int = 16,
) -> Network:
    """WideResNet-28-2 unless said otherwise; see `WideResNet`.

    >>> from mpl.models.network import count
    >>> count(wide_resnet())
    1467610
    """
    module = WideResNet(depth, width, classes, dropout, decay, base)
    return network(module, shape)
