"""Parameters and instances that are drawn with NumPy, for which nothing is compiled."""

import functools

import jax
import numpy as np


def parameters(init, *, scale, seed=0, **sizes):
    """Parameters of the shapes that `init` gives, uniform in [-scale, scale]."""
    shapes = jax.eval_shape(functools.partial(init, **sizes), jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.uniform(-scale, scale, x.shape).astype(np.float32), shapes)


def instances(batch, items, seed=1):
    """Instances `[batch, items, 2]`, uniform in the unit square."""
    return np.random.default_rng(seed).uniform(size=(batch, items, 2)).astype(np.float32)
