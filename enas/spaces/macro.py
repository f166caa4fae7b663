"""Whole convolutional networks: an operation and skip connections a layer (Pham 2021, 4.2.3).

Layer k decides its operation, and of each layer before it whether it takes that one's output: there
are 6^L 2^(L(L-1)/2) ways to decide. What the thesis leaves open is decided so:

- The outputs that a layer takes are concatenated in depth. Where they are two or more, a 1 x 1
  convolution, batch normalization and ReLU squeeze them ("if a layer receives skip connections from
  multiple layers", section 4.3.2); one alone is taken as it is.
- A layer that takes none takes the layer before it, so "none" and "only k - 1" are one network
  (layer 1 takes the stem: a 3 x 3 convolution of the image, normalised).
- A layer that nothing leads from to the last one is dead, and does not run.
- After some layers, all outputs that are still needed are halved by 2 x 2 average pooling, and in
  retraining with more channels these double there, by ReLU, 1 x 1 convolution and batch
  normalization (both from the public code).
- Before the global average there is a ReLU (from the public code).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from enas import layers as nn
from enas.branches import switch
from enas.decisions import Decision, check_choices
from enas.normalization import Norms
from enas.supernet import Graph, Supernet, Weights

OPERATIONS = ("conv3", "conv5", "sep3", "sep5", "max3", "avg3")
STEM = 0  # the stem, where layers are counted from 1


class Setup(NamedTuple):
    """What the space is made of; see `supernet`."""

    shape: tuple[int, int, int]
    classes: int
    layers: int
    channels: int
    pool_at: tuple[int, ...]
    widen: int
    normalize_skips: bool
    operations: tuple[str, ...]
    dropout: float
    conv: nn.Conv | None

    def width(self, layer: int) -> int:
        """Channels of a layer's output."""
        return self.channels * self.widen ** sum(layer > at for at in self.pool_at)


class Wiring(NamedTuple):
    """An architecture, read; NumPy arrays where it is a constant.

    Attributes:
        operations: int32 `[layers + 1]`, of layer k at place k.
        takes: bool `[layers + 1, layers + 1]`: whether layer k takes output j, the stem's at 0.
        live: bool `[layers + 1]`: whether a layer leads to the last one.
    """

    operations: Any
    takes: Any
    live: Any


def supernet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    layers: int = 12,
    channels: int = 36,
    pool_at: Sequence[int] | None = None,
    widen: int = 1,
    skip_prior: float = 0.4,
    normalize_skips: bool = True,
    operations: Sequence[str] = OPERATIONS,
    dropout: float = 0.0,
    conv: nn.Conv | None = None,
) -> Supernet:
    """The macro search space.

    Its inputs are images, float32 `[batch, height, width, channels]`, its outputs logits, float32
    `[batch, classes]`. With averages of batch normalization, choices must be a constant.

    Args:
        shape: of an image, `(height, width, channels)`.
        classes: how many.
        layers: L.
        channels: of every layer before the first pooling; the thesis does not say, 36 is from the
            public code.
        pool_at: layers after which outputs are halved; a third and two thirds of the layers unless
            given (from the public code).
        widen: factor by which the channels grow there: 1, or 2 in retraining with more channels.
        skip_prior: rho, the prior probability of a skip connection (section 4.3.2).
        normalize_skips: whether the squeeze is normalised, which retraining can do without.
        operations: that a layer chooses from, some of `OPERATIONS`.
        dropout: probability of losing a channel before the softmax layer, in training with a key.
        conv: convolution, `jax.lax.conv_general_dilated` unless given.

    Raises:
        ValueError: names the argument that is out of range.
    """
    if layers < 1:
        raise ValueError(f"layers: expected at least 1, got {layers}")
    thirds = sorted({layers // 3, 2 * layers // 3} - {0, layers})
    pools = tuple(thirds if pool_at is None else pool_at)
    if any(not 1 <= at < layers for at in pools) or len(set(pools)) < len(pools):
        raise ValueError(f"pool_at: expected different layers of 1 to {layers - 1}, got {pools}")
    if not operations or set(operations) - set(OPERATIONS):
        raise ValueError(f"operations: expected some of {OPERATIONS}, got {tuple(operations)}")
    if not 0.0 < skip_prior < 1.0:
        raise ValueError(f"skip_prior: expected between 0 and 1, got {skip_prior}")
    setup = Setup(
        shape,
        classes,
        layers,
        channels,
        pools,
        widen,
        normalize_skips,
        tuple(operations),
        dropout,
        conv,
    )
    decisions = tuple(_decisions(setup, skip_prior))
    return Supernet(
        decisions,
        functools.partial(_init, setup),
        functools.partial(_apply, setup),
        lambda weights, choices: _restrict(setup, weights, check_choices(decisions, choices)),
        lambda choices: _graphs(setup, check_choices(decisions, choices)),
    )


def _decisions(setup: Setup, skip_prior: float) -> list[Decision]:
    found = []
    prior = (1.0 - skip_prior, skip_prior)
    for layer in range(1, setup.layers + 1):
        found.append(Decision(str(layer), setup.operations))
        found += [
            Decision(str(layer), ("", f"+{before}"), prior=prior) for before in range(1, layer)
        ]
    return found


def _places(mask: Any) -> list[int]:
    return [int(place) for place in np.flatnonzero(mask)]


def _live(wires: Wiring) -> list[int]:
    return [layer for layer in _places(wires.live) if layer != STEM]


def wiring(layers: int, choices: Any) -> Wiring:
    """An architecture, read: NumPy arrays from a NumPy array, else traced."""
    xp: Any = np if isinstance(choices, np.ndarray) else jnp
    starts = [k * (k - 1) // 2 for k in range(1, layers + 1)]  # of each layer's decisions
    skips = np.zeros((layers + 1, layers + 1), np.int32)
    for layer, start in enumerate(starts, 1):
        skips[layer, 1:layer] = start + np.arange(1, layer)
    takes = (skips > 0) & (choices[skips] > 0)
    none = ~xp.any(takes, axis=1, keepdims=True)
    takes = takes | (none & np.eye(layers + 1, k=-1, dtype=bool))
    live = np.arange(layers + 1) == layers
    for layer in range(layers, 0, -1):
        live = live | (live[layer] & takes[layer])
    return Wiring(xp.concatenate([choices[:1] * 0, choices[np.array(starts)]]), takes, live)


def _init(setup: Setup, key: Array) -> Weights:
    keys = iter(jax.random.split(key, 7 * (setup.layers + 1) + setup.layers**2 + 2))
    head = nn.he(next(keys), (setup.width(setup.layers), setup.classes))
    weights: Weights = {
        "stem": nn.init_conv(next(keys), 3, setup.shape[2], setup.channels),
        "head": {"kernel": head, "bias": jnp.zeros(setup.classes)},
    }
    for layer in range(1, setup.layers + 1):
        width = setup.width(layer)
        own: Weights = {}
        for name in setup.operations:
            if name.startswith("conv"):
                own[name] = nn.init_conv(next(keys), int(name[-1]), width, width)
            elif name.startswith("sep"):
                size = int(name[-1])
                own[name] = nn.init_separable(next(keys), size, width, width, twice=False)
        if layer > 2:
            before = {str(j): width for j in range(1, layer)}
            own["squeeze"] = nn.init_project(next(keys), before, width)
            if not setup.normalize_skips:
                del own["squeeze"]["bn"]
        weights[str(layer)] = own
        if layer in setup.pool_at and setup.widen > 1:
            weights[f"pool{layer}"] = {
                str(j): nn.init_conv(next(keys), 1, width, width * setup.widen)
                for j in range(1, layer + 1)
            }
    return weights


def _apply(
    setup: Setup,
    weights: Weights,
    choices: Any,
    images: Float[Array, "batch height width channels"],
    *,
    train: bool,
    key: Array | None = None,
    averages: Any = None,
) -> tuple[Float[Array, "batch classes"], Any]:
    if averages is not None and not isinstance(choices, np.ndarray):
        raise ValueError("averages: expected None where choices are traced, got averages")
    norms = Norms(averages, train=train)
    wires = wiring(setup.layers, choices)
    stem = nn.convolve(images, weights["stem"]["kernel"], conv=setup.conv)
    x = norms("stem/bn", weights["stem"]["bn"], stem)
    parts: dict[str, Array] = {}
    for layer in range(1, setup.layers + 1):
        own = weights.get(str(layer), {})  # a child has none for its dead layers
        if layer > 1:
            x, parts = _input(setup, norms, own, wires, layer, parts)
        parts[str(layer)] = _operate(setup, norms, own, wires, layer, x)
        if layer in setup.pool_at:
            parts = _halve(setup, norms, weights.get(f"pool{layer}", {}), wires, layer, parts)
    features = jnp.mean(jax.nn.relu(parts[str(setup.layers)]), (1, 2))
    if train and key is not None and setup.dropout > 0.0:
        keep = jax.random.bernoulli(key, 1.0 - setup.dropout, features.shape)
        features = jnp.where(keep, features / (1.0 - setup.dropout), 0.0)
    head = weights["head"]
    return features @ head["kernel"] + head["bias"][None], norms.after


def _where(condition: Any, yes: Any, no: Any) -> Any:
    """`where` that leaves constants constants."""
    if isinstance(condition, (bool, np.bool_)):
        return yes if condition else no
    return jnp.where(condition, yes, no)


def _input(
    setup: Setup,
    norms: Norms,
    own: Mapping[str, Any],
    wires: Wiring,
    layer: int,
    parts: Mapping[str, Array],
) -> tuple[Array, dict[str, Array]]:
    """The outputs that a layer takes, squeezed where there are several; and all outputs again."""
    if layer == 2:  # takes layer 1, whatever is chosen
        return parts["1"], dict(parts)
    takes, live = wires.takes[layer], wires.live[layer]
    several = (takes.sum() > 1) & live
    squeeze = own.get("squeeze", {"kernels": {}})
    some = parts[str(layer - 1)]
    one = _where(several, 1, 2)
    how = {name: _where(takes[int(name)] & live, one, 0) for name in parts}
    total, after = nn.project(squeeze["kernels"], parts, how, jnp.zeros_like(some))

    def as_it_is(total: Array, bn: Any) -> Array:
        return total

    def squeezed(total: Array, bn: Any) -> Array:
        if setup.normalize_skips:
            total = norms(f"{layer}/squeeze/bn", bn, total)
        return jax.nn.relu(total)

    return switch(several, (as_it_is, squeezed), total, squeeze.get("bn")), after


def _operate(
    setup: Setup, norms: Norms, own: Mapping[str, Any], wires: Wiring, layer: int, x: Array
) -> Array:
    """The output of a layer: zeros where it is dead."""

    def of(name: str) -> Callable[..., Array]:
        kind, where = name[:-1], f"{layer}/{name}"

        def branch(x: Array, weights: Mapping[str, Any]) -> Array:
            if kind == "conv":
                return nn.conv_bn(norms, where, weights[name], x, conv=setup.conv)
            if kind == "sep":
                return nn.separable_bn(norms, where, weights[name], x, conv=setup.conv)
            return nn.max_pool(x) if kind == "max" else nn.average_pool(x)

        return branch

    def dead(x: Array, weights: Mapping[str, Any]) -> Array:
        return jnp.zeros_like(x)

    branches = [*(of(name) for name in setup.operations), dead]
    index = _where(wires.live[layer], wires.operations[layer], len(branches) - 1)
    operations = {name: each for name, each in own.items() if name != "squeeze"}
    return switch(index, branches, x, operations)


def _needed(wires: Wiring, after: int) -> Any:
    """Which outputs live layers after one take: bool `[layers + 1]`."""
    return (wires.live[after + 1 :, None] & wires.takes[after + 1 :]).any(0)


def _halve(
    setup: Setup,
    norms: Norms,
    own: Mapping[str, Any],
    wires: Wiring,
    layer: int,
    parts: Mapping[str, Array],
) -> dict[str, Array]:
    """All outputs so far at half the height and width; zeros for those not needed any more."""
    needed = _needed(wires, layer)

    def halve(name: str, part: Array, weights: Any) -> Array:
        half = nn.average_pool(part, stride=2, size=2)
        if weights is None:
            return half
        return nn.conv_bn(norms, f"pool{layer}/{name}", weights, half, conv=setup.conv)

    def drop(part: Array, weights: Any) -> Array:
        count, height, width, channels = part.shape
        return jnp.zeros((count, -(-height // 2), -(-width // 2), channels * setup.widen))

    return {
        name: switch(
            _where(needed[int(name)], 1, 0),
            (drop, functools.partial(halve, name)),
            part,
            own.get(name),
        )
        for name, part in parts.items()
    }


def _restrict(setup: Setup, weights: Weights, choices: np.ndarray) -> Weights:
    wires = wiring(setup.layers, choices)
    found: Weights = {"stem": weights["stem"], "head": weights["head"]}
    for layer in _live(wires):
        name = setup.operations[wires.operations[layer]]
        own = weights[str(layer)]
        found[str(layer)] = {name: own[name]} if name in own else {}
        taken = _places(wires.takes[layer])
        if len(taken) > 1:
            kernels = {str(j): own["squeeze"]["kernels"][str(j)] for j in taken}
            found[str(layer)]["squeeze"] = {**own["squeeze"], "kernels": kernels}
    for layer in setup.pool_at if setup.widen > 1 else ():
        needed = [str(j) for j in _places(_needed(wires, layer)) if j <= layer]
        found[f"pool{layer}"] = {j: weights[f"pool{layer}"][j] for j in needed}
    return found


def _graphs(setup: Setup, choices: np.ndarray) -> dict[str, Graph]:
    wires = wiring(setup.layers, choices)
    nodes = {"image": "image", "stem": "stem"}
    edges = [("image", "stem", "")]
    for layer in _live(wires):
        nodes[str(layer)] = f"{layer}: {setup.operations[wires.operations[layer]]}"
        for before in _places(wires.takes[layer]):
            halved = sum(before <= at < layer for at in setup.pool_at)
            label = f"1/{2**halved}" if halved else ""
            edges.append(("stem" if before == STEM else str(before), str(layer), label))
    nodes["classes"] = "average, softmax"
    edges.append((str(setup.layers), "classes", ""))
    return {"network": Graph(nodes, tuple(edges))}
