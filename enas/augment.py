"""What is done to images before a network sees them, on the device (Pham 2021, section 4.3.2).

Channels are brought to mean 0 and standard deviation 1, training images are padded by zeros,
cropped back at random and mirrored at random; cutout is what the thesis adds for its best number
(2.89%). Decisions where the thesis is silent:

- Padding follows the normalisation, so that zeros are the mean colour. So is a cutout.
- Cutout (DeVries and Taylor 2017) is one square an image, whose centre is uniform over the pixels
  and which is cut off at the border. It comes last, so that no crop moves it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

Images = Float[Array, "batch height width channel"]


class Moments(NamedTuple):
    """Mean and standard deviation of each channel, over the pixels of all training images.

    Attributes:
        mean: float32 [channel], 0 to 255.
        std: float32 [channel], above 0.
    """

    mean: np.ndarray | Array
    std: np.ndarray | Array


def channel_moments(images: UInt8[np.ndarray, "n height width channel"]) -> Moments:
    """The moments of training images, exact before they are rounded to float32.

    A channel that never changes gets the standard deviation 1.

    Raises:
        ValueError: there are no pixels.
    """
    pixels = images[..., 0].size
    if not pixels:
        raise ValueError(f"images: expected at least one pixel, got shape {images.shape}")
    mean = images.sum((0, 1, 2), dtype=np.int64) / pixels
    squares = np.square(images, dtype=np.uint16).sum((0, 1, 2), dtype=np.int64) / pixels
    varied = images.max((0, 1, 2)) > images.min((0, 1, 2))
    std = np.sqrt(np.where(varied, squares - mean**2, 1.0))
    return Moments(mean.astype(np.float32), std.astype(np.float32))


def normalized(images: UInt8[Array, "batch height width channel"], moments: Moments) -> Images:
    """Images as networks read them, in training and evaluation: float32 of the same shape."""
    mean, std = (jnp.reshape(part, (1, 1, 1, -1)) for part in moments)
    return (images.astype(jnp.float32) - mean) / std


def random_crop(key: Array, images: Images, pad: int = 4) -> Images:
    """Pads each side by `pad` zeros and cuts a window of the old size, uniformly an image.

    Args:
        key: PRNG key; consumed.
        images: normalized.
        pad: pixels; 4 makes 32x32 into 40x40.
    """
    batch, height, width, channel = images.shape
    wide = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corners = jax.random.randint(key, (batch, 2), 0, 2 * pad + 1)

    def crop(image: Array, corner: Array) -> Array:
        start = (corner[0], corner[1], jnp.zeros_like(corner[0]))
        return jax.lax.dynamic_slice(image, start, (height, width, channel))

    return jax.vmap(crop)(wide, corners)


def random_flip(key: Array, images: Images) -> Images:
    """Mirrors each image left to right with probability 1/2. The key is consumed."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def cutout(key: Array, images: Images, size: int) -> Images:
    """Sets one square of each image to zero.

    Args:
        key: PRNG key; consumed.
        images: normalized.
        size: side of the square, pixels; of an even side, the centre is the pixel right below and
            right of the middle. 0 changes nothing.
    """
    batch, height, width, _ = images.shape

    def covered(key: Array, side: int) -> Array:  # [batch, side]
        first = jax.random.randint(key, (batch, 1), 0, side) - size // 2
        places = jnp.arange(side)[None]
        return (places >= first) & (places < first + size)

    k_row, k_column = jax.random.split(key)
    square = covered(k_row, height)[:, :, None] & covered(k_column, width)[:, None, :]
    return jnp.where(square[..., None], 0.0, images)


def augmented(
    key: Array,
    images: UInt8[Array, "batch height width channel"],
    moments: Moments,
    *,
    pad: int = 4,
    flip: bool = True,
    cutout_size: int = 0,
) -> Images:
    """All of the above, in training: normalized, cropped, mirrored, cut out.

    Args:
        key: PRNG key; consumed.
        images: a batch.
        moments: `channel_moments` of the training images.
        pad: see `random_crop`; 0 is no crop.
        flip: whether images are mirrored; not where left and right matter, as in digits.
        cutout_size: see `cutout`.
    """
    k_crop, k_flip, k_cutout = jax.random.split(key, 3)
    made = normalized(images, moments)
    if pad:
        made = random_crop(k_crop, made, pad)
    if flip:
        made = random_flip(k_flip, made)
    return cutout(k_cutout, made, cutout_size) if cutout_size else made
