"""Supernets of a config: `supernet_of` makes one, from shapes alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from enas.spaces import macro, micro, rnn
from enas.supernet import Supernet
from experiments.enas.config import OPERATIONS
from experiments.runner.checks import (
    ConfigError,
    check_bool,
    check_choice,
    check_float,
    check_int,
)
from mpl.models.convolution import conv_general_dilated


class Shape(NamedTuple):
    """What a supernet needs to know of its data.

    Attributes:
        inputs: height, width and channels of images; `()` of text.
        classes: of images; words of a vocabulary.
    """

    inputs: tuple[int, ...]
    classes: int


def supernet_of(config: ConfigDict, shape: Shape) -> Supernet:
    """The supernet of a config's space.

    Raises:
        ConfigError: names the key.
    """
    check_choice(config, "space.name", ("rnn", "macro", "micro"))
    return _MAKERS[config.space.name](config, shape)


def _rnn(config: ConfigDict, shape: Shape) -> Supernet:
    space = config.space
    for name in space.dropout:
        check_float(config, f"space.dropout.{name}", 0.0, 0.99)
    return rnn.supernet(
        vocabulary=shape.classes,
        nodes=check_int(config, "space.nodes", 1, 50),
        hidden=check_int(config, "space.hidden", 1),
        scale=check_float(config, "space.scale", positive=True),
        normalize=check_bool(config, "space.normalize"),
        dropout=rnn.Dropout(**space.dropout),
    )


def _macro(config: ConfigDict, shape: Shape) -> Supernet:
    space = config.space
    unknown = [each for each in space.operations if each not in OPERATIONS]
    if unknown or not space.operations:
        raise ConfigError("space.operations", f"some of {OPERATIONS}", tuple(space.operations))
    height, width, colours = shape.inputs
    return macro.supernet(
        (height, width, colours),
        shape.classes,
        layers=check_int(config, "space.layers", 1, 50),
        channels=check_int(config, "space.channels", 1),
        pool_at=None if space.pool_at is None else tuple(space.pool_at),
        widen=check_int(config, "space.widen", 1, 2),
        skip_prior=check_float(config, "space.skip_prior", 0.0, 1.0),
        normalize_skips=check_bool(config, "space.normalize_skips"),
        operations=tuple(space.operations),
        dropout=check_float(config, "space.dropout", 0.0, 0.99),
        conv=conv_general_dilated,
    )


def _micro(config: ConfigDict, shape: Shape) -> Supernet:
    cells, blocks = (check_int(config, f"space.{key}", 1) for key in ("cells", "blocks"))
    return micro.supernet(
        shape.inputs,
        shape.classes,
        nodes=check_int(config, "space.nodes", 3, 20),
        cells=cells,
        blocks=blocks,
        channels=check_int(config, "space.channels", 1),
        last_reduction=check_bool(config, "space.last_reduction"),
        auxiliary=config.space.auxiliary,
        drop_rate=check_float(config, "space.dropout", 0.0, 0.99),
        drop_path=check_float(config, "space.drop_path", 0.0, 0.99),
        conv=conv_general_dilated,
    )


_MAKERS: Any = {"rnn": _rnn, "macro": _macro, "micro": _micro}
