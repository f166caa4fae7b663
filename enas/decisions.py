"""A search space as data: a list of decisions, in the order in which a controller takes them.

A decision has some choices, and says which node of the network it belongs to and how its choices
are printed. Its choices may be masked by what was chosen before, so that spaces whose decisions
depend on each other are data too. An architecture is one int32 array of choices, in that order.

Counting, enumerating, drawing uniformly, printing and parsing need nothing else. The three spaces
of the thesis (Pham 2021, sections 4.2.1, 4.2.3 and 4.2.4) are in `enas.spaces`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

SEPARATOR = " | "  # between the nodes of a printed architecture


class Decision(NamedTuple):
    """One choice among a few.

    Attributes:
        node: name of the node or layer that it belongs to; the decisions of a node follow each
            other.
        labels: how each choice is printed, one word each, all different; "" prints nothing.
        mask: traced `(choices int32 [decisions]) -> bool [len(labels)]`: which choices are open,
            by those of the decisions before it (later entries mean nothing); `None` for all. At
            least one must be open.
        prior: probability of each choice where architectures are drawn without a controller (guided
            random search, section 4.3.3), and what a controller is kept near by
            `enas.train.search(prior_weight=...)`; `None` is uniform, and not kept to.
    """

    node: str
    labels: tuple[str, ...]
    mask: Callable[[Int[Array, " decisions"]], Bool[Array, " choices"]] | None = None
    prior: tuple[float, ...] | None = None


Decisions = Sequence[Decision]


def check(decisions: Decisions) -> None:
    """Checks a list of decisions.

    Raises:
        ValueError: names the decision that has no choices, labels that are not different words, or
            a prior that is no distribution over them; or a node whose decisions are apart.
    """
    if not decisions:
        raise ValueError("decisions: expected at least one, got none")
    nodes = [node for node, _ in itertools.groupby(decision.node for decision in decisions)]
    for index, (node, labels, _, prior) in enumerate(decisions):
        where = f"decision {index} ({node})"
        if not labels or len(set(labels)) != len(labels):
            raise ValueError(f"{where}: labels: expected different words, got {labels}")
        if any(set(label) & set(" |:") for label in labels):
            raise ValueError(f"{where}: labels: expected words without ' ', '|' or ':', {labels}")
        if prior is not None and (len(prior) != len(labels) or not math.isclose(sum(prior), 1.0)):
            raise ValueError(f"{where}: prior: expected {len(labels)} that sum to 1, got {prior}")
        if nodes.count(node) > 1:
            raise ValueError(f"{where}: expected the decisions of a node in a row")


def sizes(decisions: Decisions) -> tuple[int, ...]:
    """The number of choices of each decision, before masks."""
    return tuple(len(decision.labels) for decision in decisions)


def count(decisions: Decisions, *, most: int = 10**6) -> int:
    """How many architectures there are, exactly.

    Where no decision has a mask it is the product of the sizes, of any number; else the
    architectures are enumerated.

    Args:
        decisions: the space.
        most: with masks, the most that are enumerated.

    Raises:
        ValueError: there are masks, and more than `most` architectures.

    >>> count([Decision("a", ("x", "y")), Decision("b", ("x", "y", "z"))])
    6
    """
    if all(decision.mask is None for decision in decisions):
        return math.prod(sizes(decisions))
    return len(enumerated(decisions, most=most))


def enumerated(decisions: Decisions, *, most: int = 10**6) -> Int[np.ndarray, "n decisions"]:
    """All architectures, in lexicographical order.

    Raises:
        ValueError: there are more than `most`.
    """
    return np.stack(list(_all(decisions, most))).astype(np.int32)


def _all(decisions: Decisions, most: int) -> Iterator[np.ndarray]:
    choices, found = np.zeros(len(decisions), np.int32), 0
    todo = [(0, choice) for choice in reversed(open_choices(decisions, 0, choices))]
    while todo:
        place, choice = todo.pop()
        choices[place] = choice
        if place + 1 < len(decisions):
            after = open_choices(decisions, place + 1, choices)
            todo += [(place + 1, choice) for choice in reversed(after)]
            continue
        found += 1
        if found > most:
            raise ValueError(f"decisions: expected at most {most} architectures, got more")
        yield choices.copy()


def open_choices(decisions: Decisions, place: int, choices: np.ndarray) -> list[int]:
    """The choices that a decision has left, by those before it.

    Raises:
        ValueError: none is left.
    """
    decision = decisions[place]
    if decision.mask is None:
        return list(range(len(decision.labels)))
    found = [int(i) for i in np.flatnonzero(np.asarray(decision.mask(jnp.asarray(choices))))]
    if not found:
        raise ValueError(f"decision {place} ({decision.node}): mask: expected an open choice")
    return found


def check_choices(decisions: Decisions, choices: np.ndarray) -> np.ndarray:
    """One architecture, as int32.

    Raises:
        ValueError: another number of choices, or one that is not open.
    """
    given = np.asarray(choices)
    if given.shape != (len(decisions),):
        raise ValueError(f"choices: expected {len(decisions)} of them, got {given.shape}")
    for place, choice in enumerate(given):
        if int(choice) not in open_choices(decisions, place, given):
            node = decisions[place].node
            raise ValueError(f"choices[{place}] (node {node}): {int(choice)} is not open")
    return given.astype(np.int32)


def line(decisions: Decisions, choices: np.ndarray) -> str:
    """An architecture as one line, which `parse` reads: `node: label label | node: label`.

    >>> space = [Decision("1", ("tanh", "relu")), Decision("2", ("", "+1"))]
    >>> line(space, np.array([1, 1]))
    '1: relu | 2: +1'
    """
    given = check_choices(decisions, choices)
    words = [decision.labels[choice] for decision, choice in zip(decisions, given, strict=True)]
    parts = []
    for node, group in itertools.groupby(range(len(words)), lambda i: decisions[i].node):
        parts.append(" ".join([f"{node}:", *(words[i] for i in group if words[i])]))
    return SEPARATOR.join(parts)


def parse(decisions: Decisions, text: str) -> Int[np.ndarray, " decisions"]:
    """The architecture that a line tells; names of nodes may be left out.

    Raises:
        ValueError: names the node, the words that it takes, and what came.
    """
    nodes = list(dict.fromkeys(decision.node for decision in decisions))
    parts = [part.strip() for part in text.strip().split(SEPARATOR.strip())]
    if len(parts) != len(nodes):
        raise ValueError(
            f"architecture: expected {len(nodes)} nodes with '|' between them, got {len(parts)}"
        )
    choices = []
    for node, part in zip(nodes, parts, strict=True):
        name, colon, rest = part.rpartition(":")
        if colon and name.strip() != node:
            raise ValueError(f"architecture: expected node {node}, got {name.strip()!r}")
        words = rest.split()
        for decision in (each for each in decisions if each.node == node):
            if words and words[0] in decision.labels:
                choices.append(decision.labels.index(words.pop(0)))
            elif "" in decision.labels:
                choices.append(decision.labels.index(""))
            else:
                got = repr(words[0]) if words else "nothing"
                raise ValueError(f"node {node}: expected one of {decision.labels}, got {got}")
        if words:
            raise ValueError(f"node {node}: expected no more words, got {' '.join(words)!r}")
    return check_choices(decisions, np.array(choices))


def guided(
    decisions: Decisions, key: Array, num_samples: int
) -> Int[Array, "num_samples decisions"]:
    """Architectures drawn without a controller: each decision by its prior, or uniformly.

    Args:
        decisions: the space.
        key: PRNG key; consumed.
        num_samples: how many.
    """
    widest = max(sizes(decisions))
    priors = np.zeros((len(decisions), widest), np.float32)
    for place, (_, labels, _, prior) in enumerate(decisions):
        priors[place, : len(labels)] = prior or [1.0 / len(labels)] * len(labels)
    with np.errstate(divide="ignore"):
        logits = jnp.asarray(np.log(priors))
    masked = open_at(decisions)

    def one(key: Array) -> Array:
        gumbel = jax.random.gumbel(key, logits.shape)

        def step(choices: Array, place: Array) -> tuple[Array, None]:
            scores = jnp.where(masked(place, choices), logits[place] + gumbel[place], -jnp.inf)
            return choices.at[place].set(jnp.argmax(scores).astype(jnp.int32)), None

        start = jnp.zeros(len(decisions), jnp.int32)
        return jax.lax.scan(step, start, jnp.arange(len(decisions)))[0]

    return jax.vmap(one)(jax.random.split(key, num_samples))


def open_at(decisions: Decisions) -> Callable[[Array | int, Array], Bool[Array, " widest"]]:
    """`(place, choices) -> open`: traced, which choices a decision has, padded to the widest."""
    widest = max(sizes(decisions))

    def of(decision: Decision) -> Callable[[Array], Array]:
        spare = widest - len(decision.labels)

        def padded(choices: Array) -> Array:
            own = jnp.ones(len(decision.labels), bool)
            if decision.mask is not None:
                own = decision.mask(choices)
            return jnp.concatenate([own, jnp.zeros(spare, bool)])

        return padded

    if all(decision.mask is None for decision in decisions):
        table = np.arange(widest)[None] < np.array(sizes(decisions))[:, None]
        return lambda place, choices: jnp.asarray(table)[place]
    branches = [of(decision) for decision in decisions]
    return lambda place, choices: jax.lax.switch(place, branches, choices)
