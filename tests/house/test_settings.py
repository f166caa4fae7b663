"""The settings of `tests/conftest.py` are in force."""

import flax.struct
import jax
import jax.numpy as jnp
import jaxtyping
import optax
import pytest
from jax.extend.backend import get_backend

from nco.problems import tsp
from tests import typecheck
from tests.conftest import forget_programs

PARAMS = {"kernel": jnp.ones((3, 4)), "bias": jnp.zeros(4)}


def test_ranks_never_broadcast_silently():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((3, 3)) * jnp.ones(3)


def test_dtypes_never_mix_silently():
    with pytest.raises(jax.dtypes.TypePromotionError):
        jnp.ones(3) * jnp.arange(3)


def test_dtypes_mix_where_a_test_asks_for_it(standard_promotion):
    assert (jnp.ones(3) * jnp.arange(3)).dtype == jnp.float32


def test_64_bits_where_a_test_asks_for_them(x64):
    assert jnp.ones(3).dtype == jnp.float64


def test_32_bits_otherwise():
    assert jnp.ones(3).dtype == jnp.float32


@pytest.mark.parametrize(
    "transform",
    [
        optax.adam(1e-3),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 2, 10)),
        optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(optax.exponential_decay(1e-3, 5000, 0.96))
        ),
        optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    ],
    ids=["adam", "adamw on a schedule", "clipped adam", "injected"],
)
def test_optax_runs_as_it_is(transform):
    @jax.jit
    def update(gradients, state):
        updates, state = transform.update(gradients, state, PARAMS)
        return optax.apply_updates(PARAMS, updates), state

    params, state = update(PARAMS, transform.init(PARAMS))
    params, _ = update(params, state)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, PARAMS)


def test_annotations_of_library_rooms_are_checked():
    cities = jnp.zeros((2, 5, 2))
    with pytest.raises(jaxtyping.TypeCheckError):
        tsp.tour_length(cities.astype(jnp.int32), jnp.zeros((2, 5), jnp.int32))


def test_a_pytree_dataclass_may_hold_placeholders():
    @jaxtyping.jaxtyped(typechecker=typecheck.check_functions)
    @flax.struct.dataclass
    class State:
        step: jax.Array

    assert jax.tree.map(lambda _: None, State(jnp.int32(3))).step is None


def test_programs_are_freed_where_there_are_too_many():
    double = jax.jit(lambda x: 2 * x)
    assert double(jnp.float32(1)) == 2
    count = len(get_backend().live_executables())
    forget_programs(most=count)
    assert len(get_backend().live_executables()) == count > 0
    forget_programs(most=count - 1)
    assert len(get_backend().live_executables()) < count
    assert double(jnp.float32(1)) == 2
