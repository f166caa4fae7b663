"""Augmentation: what each image may become, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from enas import augment

BATCH, SIDE, PAD, SIZE = 512, 6, 2, 3


@pytest.fixture(scope="module")
def images():
    """Every pixel of an image differs from the others, and none is zero; not square."""
    pixels = np.arange(1, SIDE * (SIDE + 1) * 2 + 1, dtype=np.float32)
    return np.broadcast_to(pixels.reshape(1, SIDE, SIDE + 1, 2), (BATCH, SIDE, SIDE + 1, 2))


def test_moments_are_those_of_all_pixels_of_a_channel():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), np.uint8)
    images[..., 2] = 7  # never changes
    mean, std = augment.channel_moments(images)
    exact = images.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std[:2], exact.std((0, 1, 2))[:2], rtol=1e-6)
    assert std[2] == 1
    made = augment.normalized(jnp.asarray(images), augment.Moments(mean, std))
    assert made.dtype == np.float32
    np.testing.assert_allclose(np.mean(made, (0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(made, (0, 1, 2)), [1, 1, 0], atol=1e-5)


def test_no_images_have_no_moments():
    with pytest.raises(ValueError, match=r"images: expected at least one pixel, got shape \(0, 4"):
        augment.channel_moments(np.zeros((0, 4, 4, 1), np.uint8))


def test_a_crop_is_a_window_of_the_image_padded_by_zeros_each_equally_often(images):
    cropped = np.asarray(jax.jit(augment.random_crop, static_argnums=2)(key(), images, PAD))
    wide = np.pad(images[0], ((PAD, PAD), (PAD, PAD), (0, 0)))
    windows = {
        (row, column): wide[row : row + SIDE, column : column + SIDE + 1].tobytes()
        for row in range(2 * PAD + 1)
        for column in range(2 * PAD + 1)
    }
    found = [image.tobytes() for image in cropped]
    counts = [found.count(window) for window in windows.values()]
    assert sum(counts) == BATCH
    # 25 windows, 20.5 images each, standard deviation 4.4.
    assert min(counts) >= 5
    assert max(counts) <= 40


def test_half_of_the_images_are_mirrored(images):
    flipped = np.asarray(jax.jit(augment.random_flip)(key(), images))
    same = (flipped == images).all((1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 0.1


@pytest.mark.parametrize("size", [SIZE, 2])
def test_a_cutout_is_one_square_with_a_centre_uniform_over_the_pixels(images, size):
    cut = np.asarray(jax.jit(augment.cutout, static_argnums=2)(key(), images, size))
    zero = cut == 0
    assert (cut[~zero] == images[~zero]).all()
    assert (zero[..., 0] == zero[..., 1]).all()
    squares = set()
    for row in range(SIDE):
        for column in range(SIDE + 1):
            square = np.zeros((SIDE, SIDE + 1), bool)
            top, left = row - size // 2, column - size // 2
            square[max(top, 0) : top + size, max(left, 0) : left + size] = True
            squares.add(square.tobytes())
    found = [square.tobytes() for square in zero[..., 0]]
    assert set(found) == squares  # clipped at every border, whole in the middle
    counts = [found.count(square) for square in squares]
    assert max(counts) <= 30  # 42 centres, 12.2 images each


@pytest.mark.parametrize(
    ("parts", "zeros"),
    [
        ({"pad": 0, "flip": False}, 0.0),
        ({"pad": 1, "flip": False}, 1 - (1 - 2 / 3 / SIDE) ** 2),
        (
            {"pad": 0, "flip": False, "cutout_size": 3},
            ((SIDE - 1 + SIDE - 1 + SIDE) / SIDE**2) ** 2,
        ),
    ],
)
def test_what_is_asked_for_is_done_in_training(parts, zeros):
    images = jnp.full((BATCH, SIDE, SIDE, 1), 200, jnp.uint8)
    moments = augment.Moments(np.array([100], np.float32), np.array([50], np.float32))
    made = np.asarray(jax.jit(lambda: augment.augmented(key(), images, moments, **parts))())
    assert made.shape == images.shape
    assert made.dtype == np.float32
    assert set(np.unique(made)) <= {0.0, 2.0}  # zeros are of padding and cutouts
    assert abs((made == 0).mean() - zeros) < 0.02
    if zeros:  # rows and columns are drawn apart
        assert (made != made.swapaxes(1, 2)).any()


def test_images_are_mirrored_in_training_if_asked():
    images = jnp.full((BATCH, SIDE, SIDE, 1), 200, jnp.uint8).at[:, :, 0].set(100)
    moments = augment.Moments(np.array([100], np.float32), np.array([50], np.float32))
    made = jax.jit(lambda: augment.augmented(key(), images, moments, pad=0))()
    assert abs((np.asarray(made)[:, 0, -1] == 0).mean() - 0.5) < 0.1


def test_under_vmap_each_seed_has_its_own_crops():
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 1), np.uint8)
    moments = augment.channel_moments(images)

    def run(key):
        return augment.augmented(key, jnp.asarray(images), moments, pad=2, cutout_size=2)

    keys = jax.random.split(key(), 2)
    both = jax.jit(jax.vmap(run))(keys)
    np.testing.assert_allclose(both[1], jax.jit(run)(keys[1]), rtol=1e-6)
    assert (both[0] != both[1]).any()


def key():
    return jax.random.key(3)
