"""Kernels of the nco room: training, greedy decoding and sampling of tours."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.kernel import Kernel, PeerTask
from nco import actor_critic, pointer, policy_gradient
from nco.policy_gradient import Learner
from nco.problems import tsp
from parallel import data_parallel

HIDDEN = 128
UPDATES = 10  # in one dispatch
DECAY = 0.99


def kernels(*, tiny: bool = False) -> list[Kernel]:
    """Returns the kernels: batch 128 for training, about 1,000 tours for decoding.

    Args:
      tiny: a few small instances instead, for tests.
    """
    sizes = (5,) if tiny else (20, 50)
    batch, decoded = (4, 8) if tiny else (128, 1024)
    found = []
    for cities in sizes:
        found += [train(cities, batch), greedy(cities, decoded), sample(cities, decoded)]
    return found


def learner(cities: int, batch: int) -> Learner:
    """Returns REINFORCE with a moving average, as the peer does it; the thesis's optimiser."""
    return actor_critic.actor_critic(
        pointer.policy(tsp.problem),
        policy_gradient.moving_average(DECAY),
        actor_critic.adam_optimizer(),
        init_params=lambda key: pointer.init(key, hidden=HIDDEN, embed=HIDDEN),
        reward=tsp.problem.reward,
        example_inputs=jax.ShapeDtypeStruct((batch, cities, 2), jnp.float32),
    )


def train(cities: int, batch: int) -> Kernel:
    """Training on new instances, as the runner does it: a scan over updates, the state donated."""
    trained = learner(cities, batch)

    def one_update(state: Any, _: None) -> tuple[Any, Any]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, 0), state.step)
        return trained.update(state, split(tsp.problem.sample(key, batch, cities)))

    def program(state: Any) -> tuple[Any, Any]:
        return jax.lax.scan(one_update, state, None, length=UPDATES)

    return Kernel(
        name=f"tsp{cities}-train",
        items=UPDATES * batch,
        unit="instance",
        program=program,
        arguments=lambda: (jax.jit(trained.init)(jax.random.key(0)),),
        carries=True,
        peer=peer("train", cities, batch),
        settings=settings(cities, batch) | {"updates_a_dispatch": UPDATES},
    )


def greedy(cities: int, batch: int) -> Kernel:
    """Greedy tours of a batch of instances, and their rewards."""
    policy = pointer.policy(tsp.problem)

    def program(params: Any, key: Any, inputs: Any) -> Any:
        inputs = split(inputs)
        tours = policy.sample(params, key, inputs, greedy=True).actions
        return tours, tsp.problem.reward(inputs, tours)

    return Kernel(
        name=f"tsp{cities}-greedy",
        items=batch,
        unit="instance",
        program=program,
        arguments=lambda: decoding_arguments(cities, batch),
        peer=peer("greedy", cities, batch),
        settings=settings(cities, batch),
    )


def sample(cities: int, tours: int) -> Kernel:
    """Tours sampled for one instance, and their rewards: the inner loop of best of K."""
    policy = pointer.policy(tsp.problem)

    def program(params: Any, key: Any, inputs: Any) -> Any:
        devices = jax.device_count()  # each has a copy of the instance, and a share of the samples
        inputs = split(jnp.repeat(inputs, devices, axis=0))
        found = policy.sample(params, key, inputs, num_samples=tours // devices).actions
        return found, tsp.problem.reward(inputs, found)

    return Kernel(
        name=f"tsp{cities}-sample",
        items=tours,
        unit="tour",
        program=program,
        arguments=lambda: decoding_arguments(cities, 1),
        settings=settings(cities, 1) | {"samples": tours},
    )


def decoding_arguments(cities: int, batch: int) -> tuple:
    @jax.jit
    def make(key: Any) -> tuple:
        k_params, k_inputs, k_sample = jax.random.split(key, 3)
        params = pointer.init(k_params, hidden=HIDDEN, embed=HIDDEN)
        return params, k_sample, tsp.problem.sample(k_inputs, batch, cities)

    return make(jax.random.key(0))


def split(inputs: Any) -> Any:
    """The instances, split over all devices, as the runner splits a batch."""
    return data_parallel.split(inputs, data_parallel.make_mesh(jax.devices()))


def settings(cities: int, batch: int) -> dict[str, int]:
    sizes = {"cities": cities, "batch": batch, "hidden": HIDDEN, "embed": HIDDEN}
    return sizes | {"devices": jax.device_count()}


def peer(task: str, cities: int, batch: int) -> PeerTask:
    request = {"task": task, "cities": cities, "batch": batch}
    return PeerTask("rl4co_tsp.py", "pytorch", request)
