"""RandAugment with the thesis's two lists (table 5.5), batched; Mixup; weak augmentation.

Images are uint8 `[batch, height, width, channel]` with 1 or 3 channels, and stay so. Each operation
is the one of Pillow that AutoAugment [40] names, to the rounding of each pixel (rotations and
shears by Pillow's fixed-point arithmetic, nearest pixel); `tests/mpl/test_augment.py` compares.

The thesis refers to AutoAugment for "the detailed descriptions" and gives no magnitudes. They are
AutoAugment's (its table 6): shears to 0.3, translations to 150/331 of the side, rotations to 30
degrees, solarize from 256 to 0, posterize from 8 to 4 bits, the four enhancements from 0.1 to 1.9,
sample pairing to 0.4. A level in [0, 1] goes from no change to the full one, except for the
enhancements: 0.1 + 1.8 level. Geometric operations choose their sign at random. RandAugment's
number of operations, 2, is its authors' default; unless `magnitude` fixes the level, as they do,
each operation draws its own, as FixMatch does.

Under `vmap` every image pays for every operation of its list (a select).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

FILL = 128  # of what a geometric operation brings into view; AutoAugment's grey
Operation = Callable[[Array, Array, Array], Array]  # (image int32, level, other image) -> image


def _floor(x: Float[Array, ...]) -> Array:
    return jnp.floor(jnp.clip(x, 0.0, 255.0)).astype(jnp.int32)


def blend(low: Array, high: Array, factor: Array | float) -> Array:
    """`low + factor (high - low)`, cut to 0..255 and rounded down (Pillow's `Image.blend`)."""
    low, high = low.astype(jnp.float32), high.astype(jnp.float32)
    return _floor(low + factor * (high - low))


def gray(image: Array) -> Array:
    """ITU-R 601-2 luma as Pillow's integers give it, `[height, width, 1]`."""
    if image.shape[-1] == 1:
        return image
    weights = jnp.array([[[19595, 38470, 7471]]], jnp.int32)
    return (jnp.sum(image * weights, axis=-1, keepdims=True) + 0x8000) >> 16


def auto_contrast(image: Array) -> Array:
    """Stretches each channel to 0..255."""
    low = jnp.min(image, axis=(0, 1), keepdims=True)
    high = jnp.max(image, axis=(0, 1), keepdims=True)
    stretched = (image - low) * 255 // jnp.maximum(high - low, 1)
    return jnp.where(high > low, stretched, image)


def equalize(image: Array) -> Array:
    """Flattens each channel's histogram."""

    def channel(values: Array) -> Array:
        flat = values.reshape(-1)
        histogram = jnp.zeros(256, jnp.int32).at[flat].add(1)
        last = histogram[jnp.max(flat)]
        step = (flat.size - last) // 255
        before = jnp.cumsum(histogram) - histogram
        table = jnp.minimum((step // 2 + before) // jnp.maximum(step, 1), 255)
        return jnp.where(step > 0, table[values], values)

    return jnp.stack([channel(image[..., i]) for i in range(image.shape[-1])], axis=-1)


def invert(image: Array) -> Array:
    """255 minus each value."""
    return 255 - image


def posterize(image: Array, bits: Array) -> Array:
    """Keeps the highest `bits` bits."""
    drop = 8 - bits
    return (image >> drop) << drop


def solarize(image: Array, threshold: Array) -> Array:
    """Inverts values from `threshold` on."""
    return jnp.where(image < threshold, image, 255 - image)


def brightness(image: Array, factor: Array) -> Array:
    """Blends with black; 1 is the image."""
    return blend(jnp.zeros_like(image), image, factor)


def color(image: Array, factor: Array) -> Array:
    """Blends with its grey version; 1 is the image."""
    return blend(jnp.broadcast_to(gray(image), image.shape), image, factor)


def contrast(image: Array, factor: Array) -> Array:
    """Blends with its mean grey; 1 is the image."""
    luma = gray(image)
    mean = jnp.floor(jnp.sum(luma) / luma.size + 0.5).astype(jnp.int32)
    return blend(jnp.full_like(image, mean), image, factor)


def sharpness(image: Array, factor: Array) -> Array:
    """Blends with its smoothed version; 1 is the image. The border is not smoothed."""
    padded = image.astype(jnp.float32)
    height, width, _ = image.shape
    if height < 3 or width < 3:
        return image
    total = 4.0 * padded[1:-1, 1:-1]  # the kernel's middle is 5, all else 1
    for i in range(3):
        for j in range(3):
            total += padded[i : height - 2 + i, j : width - 2 + j]
    inner = _floor(total / 13.0 + 0.5)
    smooth = image.at[1:-1, 1:-1].set(inner)
    return blend(smooth, image, factor)


def affine(image: Array, matrix: tuple[Array | float, ...]) -> Array:
    """Each pixel (x, y) becomes the one at (a x + b y + c, d x + e y + f), or `FILL` outside.

    Pixel centres are at halves and the nearest pixel is taken, in Pillow's 16.16 fixed point.
    """
    height, width, _ = image.shape
    a, b, c, d, e, f = (jnp.asarray(value, jnp.float32) for value in matrix)

    def fixed(value: Array) -> Array:
        return jnp.floor(value * 65536.0 + 0.5).astype(jnp.int32)

    x, y = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
    column = (fixed(a * 0.5 + b * 0.5 + c) + fixed(a) * x + fixed(b) * y) >> 16
    row = (fixed(d * 0.5 + e * 0.5 + f) + fixed(d) * x + fixed(e) * y) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    taken = image[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return jnp.where(inside[..., None], taken, FILL)


def rotate(image: Array, degrees: Array) -> Array:
    """Turns about the centre, counterclockwise."""
    height, width, _ = image.shape
    angle = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle_x, middle_y = width / 2.0, height / 2.0
    c = middle_x - cos * middle_x + sin * middle_y
    f = middle_y - sin * middle_x - cos * middle_y
    return affine(image, (cos, -sin, c, sin, cos, f))


def shear_x(image: Array, factor: Array) -> Array:
    """Each row moves by `factor` times its height from the top."""
    return affine(image, (1.0, factor, 0.0, 0.0, 1.0, 0.0))


def shear_y(image: Array, factor: Array) -> Array:
    """Each column moves by `factor` times its distance from the left."""
    return affine(image, (1.0, 0.0, 0.0, factor, 1.0, 0.0))


def translate_x(image: Array, pixels: Array) -> Array:
    """Moves left by so many whole pixels."""
    return affine(image, (1.0, 0.0, pixels, 0.0, 1.0, 0.0))


def translate_y(image: Array, pixels: Array) -> Array:
    """Moves up by so many whole pixels."""
    return affine(image, (1.0, 0.0, 0.0, 0.0, 1.0, pixels))


def sample_pairing(image: Array, other: Array, weight: Array) -> Array:
    """Blends with another image of the batch."""
    return blend(image, other, weight)


def _enhance(operation: Callable[[Array, Array], Array]) -> Operation:
    return lambda image, level, other: operation(image, 0.1 + 1.8 * jnp.abs(level))


def _pixels(level: Array, side: int) -> Array:
    return jnp.trunc(level * 150.0 / 331.0 * side)


# By name: (image, level, other) -> image. The level is in [-1, 1]; its sign is the direction of a
# geometric operation, and nothing else reads it.
OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "AutoContrast": lambda image, level, other: auto_contrast(image),
        "Brightness": _enhance(brightness),
        "Color": _enhance(color),
        "Contrast": _enhance(contrast),
        "Equalize": lambda image, level, other: equalize(image),
        "Invert": lambda image, level, other: invert(image),
        "Sharpness": _enhance(sharpness),
        "Posterize": lambda image, level, other: posterize(
            image, 8 - jnp.floor(4.0 * jnp.abs(level)).astype(jnp.int32)
        ),
        "Sample Pairing": lambda image, level, other: sample_pairing(
            image, other, 0.4 * jnp.abs(level)
        ),
        "Solarize": lambda image, level, other: solarize(
            image, 256 - jnp.floor(256.0 * jnp.abs(level)).astype(jnp.int32)
        ),
        "Rotate": lambda image, level, other: rotate(image, 30.0 * level),
        "ShearX": lambda image, level, other: shear_x(image, 0.3 * level),
        "ShearY": lambda image, level, other: shear_y(image, 0.3 * level),
        "TranslateX": lambda image, level, other: translate_x(
            image, _pixels(level, image.shape[1])
        ),
        "TranslateY": lambda image, level, other: translate_y(
            image, _pixels(level, image.shape[0])
        ),
    }
)
CIFAR = tuple(OPERATIONS)  # CIFAR-10 and ImageNet: table 5.5, left
SVHN = (  # right: no rotation and no horizontal translation, which would make other digits
    "AutoContrast",
    "Brightness",
    "Color",
    "Contrast",
    "Equalize",
    "Invert",
    "Sharpness",
    "Posterize",
    "Solarize",
    "ShearX",
    "ShearY",
    "TranslateY",
)


def rand_augment(
    key: Array,
    images: UInt8[Array, "batch height width channel"],
    *,
    operations: tuple[str, ...] = CIFAR,
    num_ops: int = 2,
    magnitude: float | None = None,
) -> UInt8[Array, "batch height width channel"]:
    """Applies `num_ops` operations to each image, each drawn uniformly from `operations`.

    Args:
        key: PRNG key; consumed.
        images: a batch; "Sample Pairing" takes its other image from it.
        operations: names in `OPERATIONS`; `CIFAR` and `SVHN` are the thesis's.
        num_ops: N of RandAugment; 2 by default there.
        magnitude: level of all operations, in [0, 1]; `None` draws one for each operation.

    Raises:
        ValueError: an unknown operation.
    """
    for name in operations:
        if name not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            raise ValueError(f"operations: expected some of {known}; got {name!r}")
    branches = [OPERATIONS[name] for name in operations]
    batch = len(images)
    k_choice, k_level, k_sign, k_other = jax.random.split(key, 4)
    choice = jax.random.randint(k_choice, (num_ops, batch), 0, len(branches))
    level = jax.random.uniform(k_level, (num_ops, batch))
    if magnitude is not None:
        level = jnp.full_like(level, magnitude)
    level = jnp.where(jax.random.bernoulli(k_sign, shape=level.shape), level, -level)
    others = jax.random.randint(k_other, (num_ops, batch), 0, batch)

    def one(index: Array, image: Array, level: Array, other: Array) -> Array:
        return jax.lax.switch(index, branches, image, level, other)

    changed = images.astype(jnp.int32)
    pairs = changed
    for step in range(num_ops):
        changed = jax.vmap(one)(choice[step], changed, level[step], pairs[others[step]])
    return changed.astype(jnp.uint8)


def weak(
    key: Array,
    images: UInt8[Array, "batch height width channel"],
    *,
    pad: int = 4,
    flip: bool = True,
) -> UInt8[Array, "batch height width channel"]:
    """Random crops of the reflected images, `pad` pixels wider on each side, and mirror images."""
    k_crop, k_flip = jax.random.split(key)
    batch, height, width, channel = images.shape
    if pad:
        wide = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
        corners = jax.random.randint(k_crop, (batch, 2), 0, 2 * pad + 1)

        def crop(image: Array, corner: Array) -> Array:
            start = (corner[0], corner[1], jnp.zeros((), corner.dtype))
            return jax.lax.dynamic_slice(image, start, (height, width, channel))

        images = jax.vmap(crop)(wide, corners)
    if flip:
        mirrored = jax.random.bernoulli(k_flip, shape=(batch, 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    return images


def mixup(
    key: Array,
    inputs: Float[Array, "batch ..."],
    labels: Float[Array, "batch classes"],
    *,
    alpha: float = 1.0,
) -> tuple[Array, Array]:
    """Convex combinations of examples and of their labels (Zhang et al. 2018).

    Args:
        key: PRNG key; consumed.
        inputs: float32, as the network reads them.
        labels: distributions.
        alpha: one weight a batch is drawn from Beta(alpha, alpha).
    """
    k_weight, k_order = jax.random.split(key)
    weight = jax.random.beta(k_weight, alpha, alpha)
    order = jax.random.permutation(k_order, len(inputs))
    mixed = weight * inputs + (1.0 - weight) * inputs[order]
    return mixed, weight * labels + (1.0 - weight) * labels[order]


def scaled(images: UInt8[Array, "batch height width channel"]) -> Array:
    """Bytes as float32 in [-1, 1], of the same shape, as networks take them."""
    return images.astype(jnp.float32) / 127.5 - 1.0
