"""Parameter counts against the published ones, and what every network promises."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpl.models import efficientnet, network, perceptron, resnet, wide_resnet

# Trainable parameters at 1,000 classes, as published code has them. The seed says 480 and 390
# million for the last two (table 5.4). With the depth of B6 (2.6), width 5.0 gives 316.6 million:
# neither that nor any depth of B0 to B7 makes 390 million of it (B7's 3.1 gives 398.5, width 5.6 at
# depth 2.6 gives 394.3). The config keeps the factors that the text states.
EFFICIENTNETS = {
    "b0": 5_288_548,
    "b1": 7_794_184,
    "b2": 9_109_994,
    "b3": 12_233_232,
    "b4": 19_341_616,
    "b5": 30_389_784,
    "b6": 43_040_704,
    "b7": 66_347_960,
    "l2": 480_309_308,
    "b6-wide": 316_649_180,
}


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_efficientnet_has_the_published_number_of_parameters(name):
    assert network.count(efficientnet.efficientnet(name)) == EFFICIENTNETS[name]


def test_residual_networks_have_the_published_number_of_parameters():
    assert network.count(resnet.resnet50()) == 25_557_032  # "25.5 million"
    # "1.45 million" are the 3x3 convolutions of the blocks: see the next test.
    assert network.count(wide_resnet.wide_resnet()) == 1_467_610


def test_wide_resnet_parts():
    params, _ = jax.eval_shape(wide_resnet.wide_resnet().init, jax.random.key(0))
    sizes = {"blocks": 0, "shortcuts": 0, "first": 0, "norms": 0, "last": 0}
    layers = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        if "Conv" in name:
            part = (
                "first" if leaf.shape[2] == 3 else "shortcuts" if leaf.shape[0] == 1 else "blocks"
            )
            layers += part != "shortcuts"
        else:
            part = "norms" if "BatchNorm" in name else "last"
        sizes[part] += leaf.size
    assert sizes == {
        "blocks": 1_451_520,
        "shortcuts": 10_752,
        "first": 432,
        "norms": 3_616,
        "last": 1_290,
    }
    assert layers == 25  # the depth of 28 counts three shortcuts too


def test_perceptrons_of_the_seed():
    # Two hidden layers of 8: 2x8 + 8 + 8x8 + 8 + 8x2 + 2.
    assert network.count(perceptron.two_moon()) == 114
    params, stats = perceptron.two_moon().init(jax.random.key(0))
    leaves = jax.tree.leaves(params)
    assert max(float(jnp.abs(leaf).max()) for leaf in leaves) <= 0.1
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in leaves)
    assert stats == {}
    # Five layers of weights.
    params, _ = perceptron.reduced_teacher(10).init(jax.random.key(0))
    shapes = [layer["kernel"].shape for layer in params.values()]
    assert shapes == [(10, 128), (128, 128), (128, 128), (128, 128), (128, 10)]


SMALL = {
    "wide_resnet": wide_resnet.wide_resnet((8, 8, 3), depth=10, width=1, base=4, dropout=0.3),
    "resnet": network.network(resnet.ResNet((1, 1, 1, 1), 10, dropout=0.3, base=4), (32, 32, 3)),
    "efficientnet": network.network(
        efficientnet.EfficientNet(
            0.99, jnp.float32, False, efficientnet.Scale(0.2, 0.3, 32, 0.2), 10, 0.3
        ),
        (32, 32, 3),
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_training_draws_and_moves_averages_and_evaluation_does_neither(name):
    net = SMALL[name]
    shape = (8, 8, 3) if name == "wide_resnet" else (32, 32, 3)
    params, stats = jax.jit(net.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (6, *shape))
    train = jax.jit(lambda key: net.apply(params, stats, inputs, key=key, train=True))
    one, moved = train(jax.random.key(2))
    other, _ = train(jax.random.key(3))
    assert one.shape == (6, 10)
    assert one.dtype == jnp.float32
    assert jnp.any(one != other)
    changed = [
        bool(jnp.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (stats, moved)), strict=True)
    ]
    assert all(changed)
    still, same = jax.jit(lambda: net.apply(params, stats, inputs, train=False))()
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), stats, same))
    # Evaluation treats each input alone.
    alone, _ = net.apply(params, stats, inputs[:1], train=False)
    np.testing.assert_allclose(still[:1], alone, rtol=2e-4, atol=2e-4)


class _SideBySide(nn.Module):
    """Two blocks of one kind on the same input."""

    @nn.compact
    def __call__(self, x, kept):
        options = (0.99, jnp.float32, False, efficientnet.Stage(6, 8, 1, 1, 3), 8, 1)
        blocks = [efficientnet._TracedOnce(*options, name=f"block_{i}") for i in range(2)]
        return [block(x, kept, True) - x for block in blocks]


def test_blocks_that_share_a_trace_drop_images_of_their_own():
    x = jax.random.normal(jax.random.key(0), (64, 4, 4, 8))
    module, keys = _SideBySide(), {"params": jax.random.key(1), "dropout": jax.random.key(2)}
    half = jnp.asarray(0.5)
    variables = module.init(keys, x, half)
    (one, other), _ = module.apply(variables, x, half, rngs=keys, mutable=["batch_stats"])
    dropped = [np.asarray(jnp.all(y == 0, axis=(1, 2, 3))) for y in (one, other)]
    assert all(16 < each.sum() < 48 for each in dropped)
    assert np.any(dropped[0] != dropped[1])
    assert not np.allclose(*[np.asarray(y)[~(dropped[0] | dropped[1])] for y in (one, other)])
    kept = module.apply(variables, x, jnp.asarray(1.0), rngs=keys, mutable=["batch_stats"])[0][0]
    assert not np.any(np.all(np.asarray(kept) == 0, axis=(1, 2, 3)))


@pytest.mark.parametrize("native", [False, True])
def test_half_precision_is_of_the_convolutions_alone(native):
    half = {"dtype": jnp.dtype("bfloat16"), "native": native}
    scale = efficientnet.Scale(0.2, 0.3, 32, 0.2)
    modules = (
        resnet.ResNet((1, 1, 1, 1), 10, base=4, **half),
        efficientnet.EfficientNet(0.99, half["dtype"], native, scale, 10, 0.0),
    )
    for module in modules:
        net = network.network(module, (32, 32, 3))
        params, stats = jax.eval_shape(net.init, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves((params, stats))} == {jnp.dtype("float32")}
        images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

        def loss(params, stats, images, net=net):
            logits, stats = net.apply(params, stats, images, key=jax.random.key(1), train=True)
            assert logits.dtype == jnp.float32
            return jnp.mean(logits**2), stats

        program = jax.make_jaxpr(jax.grad(loss, has_aux=True))(params, stats, images)
        assert "bf16[" in str(program)


def test_bad_names():
    with pytest.raises(ValueError, match="name: expected one of b0"):
        efficientnet.efficientnet("b9")
    with pytest.raises(ValueError, match="depth"):
        wide_resnet.wide_resnet(depth=27).init(jax.random.key(0))
