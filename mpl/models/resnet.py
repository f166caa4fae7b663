"""ResNet-50 (He et al. 2016), of section 5.3.3 and ImageNet-10%."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mpl.models.convolution import conv_general_dilated
from mpl.models.network import Network, network

_HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ResNet(nn.Module):
    """Bottleneck blocks; strides are in the 3x3 convolution, as in today's implementations.

    Attributes:
        blocks: in each of the four stages.
        classes: K.
        dropout: rate before the logits.
        decay: of batch normalization's averages (0.99 in the thesis).
        base: channels of the first stage's 3x3 convolutions.
        dtype: of the convolutions; parameters, averages and logits stay float32.
        native: leave the gradients of convolutions to the compiler: for accelerators, where they
            need less memory than those of `mpl.models.convolution`.
    """

    blocks: tuple[int, ...]
    classes: int
    dropout: float = 0.0
    decay: float = 0.99
    base: int = 64
    dtype: jnp.dtype = jnp.float32
    native: bool = False

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channel"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits; see the class."""
        x = self._conv(self.base, 7, 2)(images)
        x = nn.relu(self._norm(x, train))
        x = nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                x = self._block(x, self.base * 2**stage, 2 if stage and not block else 1, train)
        x = jnp.mean(x, axis=(1, 2)).astype(jnp.float32)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes)(x)

    def _block(self, x: Array, channels: int, stride: int, train: bool) -> Array:
        y = nn.relu(self._norm(self._conv(channels, 1)(x), train))
        y = nn.relu(self._norm(self._conv(channels, 3, stride)(y), train))
        # The last scale starts at 0, so that a block is the identity at first (Goyal et al. 2017).
        y = self._norm(self._conv(4 * channels, 1)(y), train, nn.initializers.zeros)
        if x.shape != y.shape:
            x = self._norm(self._conv(4 * channels, 1, stride)(x), train)
        return nn.relu(x + y)

    def _norm(
        self,
        x: Array,
        train: bool,
        scale: nn.initializers.Initializer = nn.initializers.ones,
    ) -> Array:
        layer = nn.BatchNorm(
            use_running_average=not train,
            momentum=self.decay,
            epsilon=1e-5,
            scale_init=scale,
        )
        return layer(x.astype(jnp.float32)).astype(self.dtype)  # its averages are float32

    def _conv(self, channels: int, kernel: int, stride: int = 1) -> nn.Conv:
        return nn.Conv(
            channels,
            (kernel, kernel),
            (stride, stride),
            [(kernel // 2, kernel // 2)] * 2,
            use_bias=False,
            kernel_init=_HE,
            conv_general_dilated=None if self.native else conv_general_dilated,
            dtype=self.dtype,
        )


def resnet50(
    shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    *,
    dropout: float = 0.0,
    decay: float = 0.99,
    dtype: jnp.dtype = jnp.float32,
    native: bool = False,
) -> Network:
    """ResNet-50.

    >>> from mpl.models.network import count
    >>> count(resnet50())
    25557032
    """
    return network(ResNet((3, 4, 6, 3), classes, dropout, decay, dtype=dtype, native=native), shape)
