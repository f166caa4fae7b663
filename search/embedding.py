"""HesBO: a search in few dimensions whose points are hashed into many.

Source: Nayebi et al., "A framework for Bayesian optimization in embedded subspaces", 2019; named in
Wang 2022, section 5.2 and appendix, with dimensions 8 to 1,000 for locomotion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from search import spaces
from search.interface import Outcome, PyTree, Searcher, Trial, check_count, generator
from search.spaces import Box


class State(NamedTuple):
    """A search in the small box, and the seed that its hashes come from."""

    seed: int
    inner: PyTree


def hashed(box: Box, dim: int, make: Callable[[Box], Searcher]) -> Searcher:
    """A searcher of `box` that searches [-1, 1]^dim.

    Every coordinate of the box copies a random one of the small coordinates, with a random sign, so
    every small point lies in the box. The optimum need not be among these points: no search of this
    kind comes closer to it than the embedding does.

    Args:
        box: what to search.
        dim: of the small box, at most the box's.
        make: a searcher of the small box, such as `baselines.bayesian`.

    Raises:
        ValueError: `dim` is not from 1 to the box's, or the space is no box.
    """
    spaces.check(box, Box)
    if not 1 <= dim <= box.dim:
        raise ValueError(f"dim: expected 1 to {box.dim}, got {dim}")
    inside = make(spaces.box(-1.0, 1.0, dim))

    def ask(state: State, n: int) -> tuple[State, list[Trial]]:
        check_count(n)
        inner, trials = inside.ask(state.inner, n)
        axes, signs = hashes(state.seed, box.dim, dim)
        mapped = [
            trial._replace(point=box.from_unit((signs * trial.point[axes] + 1.0)[None] / 2.0)[0])
            for trial in trials
        ]
        return State(state.seed, inner), mapped

    def tell(state: State, outcomes: Sequence[Outcome]) -> State:
        return State(state.seed, inside.tell(state.inner, outcomes))

    return Searcher(lambda seed: State(seed, inside.init(seed)), ask, tell)


def hashes(
    seed: int, wide: int, small: int
) -> tuple[Int[np.ndarray, " wide"], Float[np.ndarray, " wide"]]:
    """For each of many coordinates, the small one that it copies, and its sign."""
    rng = generator(seed, 0, 7)
    return rng.integers(small, size=wide), rng.choice([-1.0, 1.0], size=wide)
