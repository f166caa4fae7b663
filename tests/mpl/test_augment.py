"""Every operation of RandAugment against Pillow, and what the random choice of them promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpl import augment

pillow = pytest.importorskip("PIL.Image")
enhance = pytest.importorskip("PIL.ImageEnhance")
ops = pytest.importorskip("PIL.ImageOps")

IMAGES = 12


def _images(channels, size=(20, 26)):
    """Noise, smooth ramps, and images with few or one value: what the histograms stumble over."""
    rng = np.random.default_rng(channels)
    images = rng.integers(0, 256, (IMAGES, *size, channels))
    ramp = np.add.outer(np.arange(size[0]) * 5, np.arange(size[1]) * 4)[..., None] + np.arange(
        channels
    )
    images[1] = ramp % 256
    images[2] = ramp // 2 + 30
    images[3] = 77
    images[4] = rng.integers(90, 92, images[4].shape)
    images[5] = rng.normal(120, 20, images[5].shape).clip(0, 255)
    return images.astype(np.uint8)


def _pillow(image):
    return pillow.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _array(image):
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def _shift(image, matrix):
    fill = (augment.FILL,) * len(image.getbands())
    return image.transform(image.size, pillow.Transform.AFFINE, matrix, fillcolor=fill)


def _turn(image, degrees):
    fill = (augment.FILL,) * len(image.getbands())
    return image.rotate(degrees, fillcolor=fill if len(fill) > 1 else fill[0])


def _bits(image, bits):
    return ops.posterize(image, bits)


# name: ours(image, value), Pillow's(image, value), values
OPERATIONS = {
    "auto_contrast": (lambda x, v: augment.auto_contrast(x), lambda x, v: ops.autocontrast(x), [0]),
    "equalize": (lambda x, v: augment.equalize(x), lambda x, v: ops.equalize(x), [0]),
    "invert": (lambda x, v: augment.invert(x), lambda x, v: ops.invert(x), [0]),
    "posterize": (augment.posterize, _bits, [4, 5, 8]),
    "solarize": (augment.solarize, ops.solarize, [0, 100, 255]),
    "brightness": (
        augment.brightness,
        lambda x, v: enhance.Brightness(x).enhance(v),
        [0.1, 0.7, 1.0, 1.9],
    ),
    "color": (augment.color, lambda x, v: enhance.Color(x).enhance(v), [0.1, 0.7, 1.0, 1.9]),
    "contrast": (
        augment.contrast,
        lambda x, v: enhance.Contrast(x).enhance(v),
        [0.1, 0.7, 1.0, 1.9],
    ),
    "sharpness": (
        augment.sharpness,
        lambda x, v: enhance.Sharpness(x).enhance(v),
        [0.1, 0.7, 1.0, 1.9],
    ),
    "rotate": (augment.rotate, _turn, [-30.0, -7.3, 11.0, 29.0]),
    "shear_x": (augment.shear_x, lambda x, v: _shift(x, (1, v, 0, 0, 1, 0)), [-0.3, 0.11, 0.27]),
    "shear_y": (augment.shear_y, lambda x, v: _shift(x, (1, 0, 0, v, 1, 0)), [-0.3, 0.11, 0.27]),
    "translate_x": (augment.translate_x, lambda x, v: _shift(x, (1, 0, v, 0, 1, 0)), [-9, 0, 4]),
    "translate_y": (augment.translate_y, lambda x, v: _shift(x, (1, 0, 0, 0, 1, v)), [-9, 0, 4]),
}
# Rounded otherwise where a product of floats lies on an integer, or a pixel between two.
MAY_DIFFER = {"rotate", "shear_x", "shear_y"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_equals_pillows(name, channels):
    ours, theirs, values = OPERATIONS[name]
    if name == "color" and channels == 1:
        theirs = lambda x, v: x  # noqa: E731  a grey image has no colour to lose
    images = _images(channels)
    run = jax.jit(jax.vmap(ours, in_axes=(0, None)))
    for value in values:
        kind = np.float32 if isinstance(value, float) else np.int32
        got = run(images.astype(np.int32), kind(value))
        wanted = np.stack([_array(theirs(_pillow(image), value)) for image in images])
        difference = np.abs(np.asarray(got) - wanted.astype(int))
        if name in MAY_DIFFER:
            assert (difference > 0).mean() < 0.004, value
        else:
            # A product of floats that is a whole number but for rounding: one level.
            assert difference.max() <= 1, value
            assert (difference > 0).mean() < 0.02, value


@pytest.mark.parametrize("weight", [0.0, 0.13, 0.4])
def test_sample_pairing_is_a_blend_of_two_images(weight):
    images = _images(3)
    got = augment.sample_pairing(*jnp.asarray(images[:2], jnp.int32), jnp.float32(weight))
    wanted = _array(pillow.blend(_pillow(images[0]), _pillow(images[1]), weight))
    assert np.abs(np.asarray(got) - wanted.astype(int)).max() <= 1


def test_the_seeds_two_lists():
    assert len(augment.CIFAR) == 15
    assert set(augment.CIFAR) - set(augment.SVHN) == {"Sample Pairing", "Rotate", "TranslateX"}
    assert set(augment.SVHN) < set(augment.CIFAR)


def _rand_augment(key, images, *, operations, magnitude):
    run = functools.partial(
        augment.rand_augment, operations=operations, num_ops=1, magnitude=magnitude
    )
    return jax.jit(run)(key, images)


@pytest.mark.parametrize("name", augment.CIFAR)
def test_level_zero_changes_nothing_but_where_there_is_no_level(name):
    images = _images(3)
    got = _rand_augment(jax.random.key(0), images, operations=(name,), magnitude=0.0)
    changed = np.any(np.asarray(got) != images)
    always = ("AutoContrast", "Equalize", "Invert")
    enhanced = ("Brightness", "Color", "Contrast", "Sharpness")  # from 0.1 on
    assert changed == (name in (*always, *enhanced))


def test_rand_augment_draws_operations_uniformly_and_each_image_its_own():
    image = _images(3)[5]
    images = np.broadcast_to(image, (3000, *image.shape))
    names = ("Invert", "TranslateX", "Posterize")
    got = np.asarray(_rand_augment(jax.random.key(1), images, operations=names, magnitude=1.0))
    inverted = np.all(got == 255 - image, axis=(1, 2, 3))
    masked = np.all(got == (image >> 4) << 4, axis=(1, 2, 3))
    for part in (inverted, masked, ~(inverted | masked)):
        assert abs(part.mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 3000)
    first = got[~(inverted | masked)][:, :, 0]
    assert 0.4 < (first == augment.FILL).all(axis=(1, 2)).mean() < 0.6  # both directions


def test_rand_augment_is_jittable_and_keeps_shape_and_type():
    images = jnp.asarray(_images(1, (28, 28)))
    run = jax.jit(lambda key, x: augment.rand_augment(key, x, operations=augment.SVHN))
    one, same, other = (run(jax.random.key(seed), images) for seed in (0, 0, 1))
    assert one.shape == images.shape
    assert one.dtype == jnp.uint8
    np.testing.assert_array_equal(one, same)
    assert np.any(np.asarray(one) != np.asarray(other))
    with pytest.raises(ValueError, match="operations"):
        augment.rand_augment(jax.random.key(0), images, operations=("Blur",))


def test_weak_augmentation_crops_and_mirrors():
    images = _images(3)
    weak = jax.jit(augment.weak, static_argnames=("pad", "flip"))
    still = weak(jax.random.key(0), images, pad=0, flip=False)
    np.testing.assert_array_equal(still, images)
    got = np.asarray(weak(jax.random.key(0), images, pad=2, flip=True))
    wide = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    for image, padded in zip(got, wide, strict=True):
        crops = [
            padded[i : i + image.shape[0], j : j + image.shape[1]]
            for i in range(5)
            for j in range(5)
        ]
        found = [np.array_equal(image, crop) for crop in crops]
        found += [np.array_equal(image, crop[:, ::-1]) for crop in crops]
        assert any(found)
    assert np.any(got != images, axis=(1, 2, 3)).sum() > IMAGES // 2


def test_mixup_mixes_inputs_and_labels_alike():
    inputs = np.arange(8, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    eye = np.eye(8, dtype=np.float32)
    mixed, labels = map(np.asarray, jax.jit(augment.mixup)(jax.random.key(3), inputs, eye))
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(labels @ inputs, mixed, rtol=1e-5, atol=1e-5)
    assert np.any(np.abs(labels - eye) > 1e-3)
