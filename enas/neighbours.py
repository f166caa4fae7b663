"""Architectures near a given one: is what was found a local optimum (Pham 2021, section 4.3)?

The thesis switches activations of its recurrent cell to identity or sigmoid, or ReLU and tanh with
each other; puts plain convolutions in the place of separable ones; and rewires its cells at random.
All are changes of choices, which the labels of decisions name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from enas.decisions import Decisions, check_choices, open_choices


def relabelled(
    decisions: Decisions,
    choices: np.ndarray,
    replacements: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
    *,
    count: int | None = None,
) -> np.ndarray:
    """Switches choices of certain labels to others.

    Args:
        decisions: the space.
        choices: the architecture.
        replacements: labels that each label may become, drawn uniformly.
        rng: draws which, and what they become.
        count: how many switch, fewer if there are no more; `None` for all.

    Raises:
        ValueError: no choice has one of these labels.

    >>> from enas.decisions import Decision
    >>> space = [Decision(str(i), ("sep3", "conv3")) for i in range(3)]
    >>> relabelled(space, np.zeros(3, int), {"sep3": ["conv3"]}, np.random.default_rng(0)).tolist()
    [1, 1, 1]
    """
    changed = check_choices(decisions, choices)
    places = [
        place
        for place, decision in enumerate(decisions)
        if decision.labels[changed[place]] in replacements
    ]
    if not places:
        raise ValueError(f"choices: expected one of {', '.join(replacements)} among them, got none")
    picked = rng.permutation(places)[: len(places) if count is None else count]
    for place in picked.tolist():
        labels = decisions[place].labels
        new = rng.choice(list(replacements[labels[changed[place]]]))
        changed[place] = labels.index(new)
    return check_choices(decisions, changed)


def rewired(
    decisions: Decisions,
    choices: np.ndarray,
    rng: np.random.Generator,
    *,
    kept: Collection[str],
    count: int,
) -> np.ndarray:
    """Changes some choices to others that are open, drawn uniformly.

    Args:
        decisions: the space.
        choices: the architecture.
        rng: draws which, and what they become.
        kept: labels of decisions that stay: one that has any of them among its labels does not
            change (operations, where connections are to change).
        count: how many change, fewer if there are no more that can.

    Raises:
        ValueError: none can.
    """
    changed = check_choices(decisions, choices)
    free = [
        place
        for place, decision in enumerate(decisions)
        if not set(decision.labels) & set(kept) and len(open_choices(decisions, place, changed)) > 1
    ]
    if not free:
        raise ValueError("choices: expected a decision that could be another, got none")
    for place in rng.permutation(free)[:count].tolist():
        others = [c for c in open_choices(decisions, place, changed) if c != changed[place]]
        changed[place] = rng.choice(others)
    return check_choices(decisions, changed)
