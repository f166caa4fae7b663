"""EfficientNet (Tan and Le 2019): B0 to B7, L2 and B6-Wide, of sections 5.4 and 5.7.14.

B6-Wide has "the same depth with EfficientNet-B6 but the width factor increased from 2.1 to 5.0" and
390 million parameters (section 5.4). The published B6 has width factor 1.8 and depth factor 2.6;
depth 2.6 and width 5.0, which `SCALES` has, make 316.6 million parameters. No reading of the text
makes 390: B7's depth of 3.1 with width 5.0 makes 398.5 million, width 5.6 at depth 2.6 394.3.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mpl.models.convolution import conv_general_dilated
from mpl.models.network import Network, network

_HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Scale(NamedTuple):
    """How a network differs from B0."""

    width: float  # factor of channels
    depth: float  # factor of blocks a stage
    resolution: int  # pixels, of training
    dropout: float  # before the logits


SCALES = MappingProxyType(
    {
        "b0": Scale(1.0, 1.0, 224, 0.2),
        "b1": Scale(1.0, 1.1, 240, 0.2),
        "b2": Scale(1.1, 1.2, 260, 0.3),
        "b3": Scale(1.2, 1.4, 300, 0.3),
        "b4": Scale(1.4, 1.8, 380, 0.4),
        "b5": Scale(1.6, 2.2, 456, 0.4),
        "b6": Scale(1.8, 2.6, 528, 0.5),
        "b7": Scale(2.0, 3.1, 600, 0.5),
        # 512 pixels in the thesis, so that 16 cores share an image's width; Noisy Student has 475.
        "l2": Scale(4.3, 5.3, 512, 0.5),
        "b6-wide": Scale(5.0, 2.6, 512, 0.5),
    }
)


class Stage(NamedTuple):
    """A row of table 1 of Tan and Le 2019."""

    expand: int
    channels: int
    blocks: int
    stride: int
    kernel: int


STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)


def channels(base: int, factor: float) -> int:
    """Channels times a factor, to the nearest multiple of 8, never more than a tenth below."""
    wanted = base * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class _Layers(nn.Module):
    """Convolutions and batch normalization as all blocks have them; see `EfficientNet`."""

    decay: float
    dtype: jnp.dtype
    native: bool

    def norm(self, x: Array, train: bool) -> Array:
        layer = nn.BatchNorm(use_running_average=not train, momentum=self.decay, epsilon=1e-3)
        return layer(x.astype(jnp.float32)).astype(self.dtype)  # its averages are float32

    def conv(
        self, features: int, kernel: int, stride: int = 1, *, groups: int = 1, bias: bool = False
    ) -> nn.Conv:
        return nn.Conv(
            features,
            (kernel, kernel),
            (stride, stride),
            "SAME",
            feature_group_count=groups,
            use_bias=bias,
            kernel_init=_HE,
            conv_general_dilated=None if self.native else conv_general_dilated,
            dtype=self.dtype,
        )


class _Block(_Layers):
    stage: Stage
    out: int
    stride: int

    @nn.compact
    def __call__(self, x: Array, kept: Array, train: bool) -> Array:
        inner = x.shape[-1] * self.stage.expand
        y = x
        if self.stage.expand > 1:
            y = nn.swish(self.norm(self.conv(inner, 1)(y), train))
        y = self.conv(inner, self.stage.kernel, self.stride, groups=inner)(y)
        y = nn.swish(self.norm(y, train))
        # A quarter of the block's *input* channels, as in the published code.
        squeezed = jnp.mean(y, axis=(1, 2), keepdims=True)
        squeezed = nn.swish(self.conv(max(1, x.shape[-1] // 4), 1, bias=True)(squeezed))
        y = y * nn.sigmoid(self.conv(inner, 1, bias=True)(squeezed))
        y = self.norm(self.conv(self.out, 1)(y), train)
        if x.shape != y.shape:
            return y
        if train:  # drops the whole block of some images (Huang et al. 2016)
            mask = jax.random.bernoulli(self.make_rng("dropout"), kept, (len(y), 1, 1, 1))
            y = jnp.where(mask, y / kept.astype(y.dtype), jnp.zeros((), y.dtype))
        return x + y.astype(x.dtype)


# Blocks of one kind are traced once: L2 has 88 of 14 kinds.
_TracedOnce = nn.jit(_Block, static_argnums=(3,))


class EfficientNet(_Layers):
    """Mobile inverted bottlenecks with squeeze and excitation, swish and stochastic depth.

    Attributes:
        decay: of batch normalization's averages (0.99 in the thesis and the published networks).
        dtype: of the convolutions; parameters, averages and logits stay float32.
        native: leave the gradients of convolutions to the compiler: for accelerators, where they
            need less memory than those of `mpl.models.convolution`.
        scale: width and depth factors.
        classes: K.
        dropout: rate before the logits.
        survival: block i of n is kept with probability 1 - (1 - survival) i / n in training, the
            first always (0.8 in the published networks).
    """

    scale: Scale
    classes: int
    dropout: float
    survival: float = 0.8

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channel"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits; see the class."""
        width, depth = self.scale.width, self.scale.depth
        x = nn.swish(self.norm(self.conv(channels(32, width), 3, 2)(images), train))
        repeats = [math.ceil(stage.blocks * depth) for stage in STAGES]
        total, done = sum(repeats), 0
        for stage, count in zip(STAGES, repeats, strict=True):
            out = channels(stage.channels, width)
            for place in range(count):
                kept = jnp.asarray(1.0 - (1.0 - self.survival) * done / total, jnp.float32)
                stride = 1 if place else stage.stride
                options = (self.decay, self.dtype, self.native, stage, out, stride)
                x = _TracedOnce(*options, name=f"block_{done}")(x, kept, train)
                done += 1
        x = nn.swish(self.norm(self.conv(channels(1280, width), 1)(x), train))
        x = jnp.mean(x, axis=(1, 2)).astype(jnp.float32)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes)(x)


def efficientnet(
    name: str = "b0",
    shape: tuple[int, int, int] | None = None,
    classes: int = 1000,
    *,
    dropout: float | None = None,
    survival: float = 0.8,
    decay: float = 0.99,
    dtype: jnp.dtype = jnp.float32,
    native: bool = False,
) -> Network:
    """EfficientNet by name (`SCALES`), for images of its own resolution unless `shape` is given.

    Raises:
        ValueError: an unknown name.
    """
    if name not in SCALES:
        raise ValueError(f"name: expected one of {', '.join(SCALES)}; got {name!r}")
    scale = SCALES[name]
    rate = scale.dropout if dropout is None else dropout
    module = EfficientNet(decay, dtype, native, scale, classes, rate, survival)
    return network(module, shape or (scale.resolution, scale.resolution, 3))
