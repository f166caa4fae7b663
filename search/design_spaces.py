"""Network design spaces as states and actions for `search.mcts` and `search.alphax`.

Every function returns a `decisions.Problem` whose points are int64 vectors, the encodings that a
predictor sees. A network is complete only after its last decision, or where its space has the
action `TERMINATE`, so that passing through a shallow network costs nothing.

Source: Wang 2022, sections 3.2.2 (AlphaX's spaces), 3.2.3 (encodings) and 4.1 (the plain CNNs).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from search import spaces
from search.decisions import Action, Problem, State
from search.spaces import Choices

TERMINATE = "terminate"

# --- plain CNNs: section 4.1 ---

LAYERS = 5
Order = Literal["global", "sequential"]


def plain_cnns() -> Int[np.ndarray, "1364 11"]:
    """All plain CNNs of section 4.1, encoded: `[depth, 5 kernels, 5 filters]`.

    A kernel is 1 (small) or 2 (large), the filters 1 (few) or 2 (many), and 0 stands where the
    network has no such layer. By depth, then kernels, then filters, the last layer fastest.
    """
    every = []
    for depth in range(1, LAYERS + 1):
        absent = (0,) * (LAYERS - depth)
        for sizes in itertools.product((1, 2), repeat=2 * depth):
            every.append((depth, *sizes[:depth], *absent, *sizes[depth:], *absent))
    return np.array(every, np.int64)


def plain_cnn(order: Order = "global") -> Problem:
    """The plain CNNs with one of section 4.1's action spaces; 1,364 terminal states either way.

    Args:
        order: "global": the depth first, then every layer's kernel, then every layer's filters.
            "sequential": add a layer, its kernel, its filters, again and again, or terminate.

    Raises:
        ValueError: another order.

    >>> problem = plain_cnn("global")
    >>> problem.point((2, 1, 2, 2, 1))  # two layers: 3x3 and many filters, 5x5 and few
    array([2, 1, 2, 0, 0, 0, 2, 1, 0, 0, 0])
    """
    if order == "global":
        return Problem((), _global_actions, _append, _global_complete, _global_point)
    if order == "sequential":
        return Problem((), _layer_actions, _append, _layers_complete, _layers_point)
    raise ValueError(f"order: expected global or sequential, got {order!r}")


# A state is the tuple of the actions taken: (depth, kernel, ..., filters, ...), or
# ("add", kernel, filters, "add", ..., "terminate"), which ends by itself at the largest depth.
def _append(state: Any, action: Action) -> State:
    return (*state, action)


def _global_actions(state: Any) -> Sequence[Action]:
    return (1, 2) if state else range(1, LAYERS + 1)


def _global_complete(state: Any) -> bool:
    return bool(state) and len(state) == 1 + 2 * state[0]


def _global_point(state: Any) -> Int[np.ndarray, " 11"]:
    depth = state[0]
    return _plain_code(state[1 : 1 + depth], state[1 + depth :])


def _layer_actions(state: Any) -> Sequence[Action]:
    if len(state) % 3:
        return (1, 2)
    return ("add", TERMINATE) if state else ("add",)


def _layers_complete(state: Any) -> bool:
    return len(state) == 3 * LAYERS or (bool(state) and state[-1] == TERMINATE)


def _layers_point(state: Any) -> Int[np.ndarray, " 11"]:
    return _plain_code(state[1::3], state[2::3])


def _plain_code(kernels: Sequence[int], filters: Sequence[int]) -> Int[np.ndarray, " 11"]:
    absent = (0,) * (LAYERS - len(filters))
    kernels = kernels[: len(filters)]
    return np.array([len(filters), *kernels, *absent, *filters, *absent], np.int64)


class Siblings(NamedTuple):
    """How well actions separate networks; one entry for each pair of children of a node.

    Attributes:
        distance: between the mean rewards below the two.
        overlap: the part of pairs of networks, one of each child, that are ordered against their
            children's means: a half where the children cannot be told apart.
    """

    distance: Float[np.ndarray, " pairs"]
    overlap: Float[np.ndarray, " pairs"]


def siblings(problem: Problem, known: Mapping[tuple[int, ...], float]) -> Siblings:
    """Compares the children of every node of the whole tree of an action space (figure 4.1b).

    Args:
        problem: a tree of few states.
        known: the reward of each point.
    """
    distance, overlap = list[float](), list[float]()

    def visit(state: State) -> Float[np.ndarray, " n"]:
        if problem.terminal(state):
            return np.array([known[tuple(map(int, problem.point(state)))]])
        children = [visit(problem.step(state, action)) for action in problem.actions(state)]
        for pair in itertools.combinations(children, 2):
            better, worse = sorted(pair, key=np.mean, reverse=True)
            distance.append(float(better.mean() - worse.mean()))
            wrong, even = better[:, None] < worse, better[:, None] == worse
            overlap.append(float(wrong.mean() + even.mean() / 2))
        return np.concatenate(children)

    visit(problem.root)
    return Siblings(np.array(distance), np.array(overlap))


# --- tables of choices, NAS-Bench-201 among them ---


def choices_in_order(space: Choices, order: Sequence[int] | None = None) -> Problem:
    """One choice after the other: the fixed actions of a space such as NAS-Bench-201's six edges.

    Args:
        space: of the points.
        order: the coordinates as they are decided; first to last by default.

    Raises:
        ValueError: the order is not one of all coordinates, or the space is a box.

    >>> from search.spaces import choices
    >>> choices_in_order(choices([2, 3]), [1, 0]).point((2, 0))
    array([0, 2])
    """
    spaces.check(space, Choices)
    decided = list(range(space.dim)) if order is None else [int(i) for i in order]
    if sorted(decided) != list(range(space.dim)):
        raise ValueError(f"order: expected 0 to {space.dim - 1}, each once, got {decided}")
    sizes = [range(int(space.sizes[i])) for i in decided]
    back = np.argsort(decided)
    return Problem(
        (),
        lambda state: sizes[len(state)],
        _append,
        lambda state: len(state) == len(sizes),
        lambda state: np.asarray(state, np.int64)[back],
    )


# --- NASBench-101: encodings and actions; its table is in no registry, so nothing was searched ---

OPERATIONS = 3  # 3x3 convolution, 1x1 convolution, 3x3 max-pooling
MAX_NODES, MAX_EDGES = 7, 9


def nasbench101(max_nodes: int = MAX_NODES, max_edges: int = MAX_EDGES) -> Problem:
    """Cells of NASBench-101, from {input, output} by adding a node, adding an edge, or terminating.

    A state is (operations of the inner nodes, edges, whether terminated). Nodes are 0, the input;
    1, 2, ..., in the order of their addition; and the output, which counts as number `max_nodes`,
    so that adding a node moves no edge. Edges lead to higher numbers. `TERMINATE` is legal once the
    output can be reached, and the last edge that is allowed has to see to that.

    The point is a vector of 56 digits: the 7x7 adjacency matrix, row by row, then the nodes (1
    input, 2 to 4 operations, 5 output, 0 absent). Nodes on no path to the output are left out, as
    the benchmark does.

    Args:
        max_nodes: input and output among them, 2 to 7. The thesis searches those of 6.
        max_edges: at least 1.

    Raises:
        ValueError: a bound out of range.
    """
    if not 2 <= max_nodes <= MAX_NODES:
        raise ValueError(f"max_nodes: expected 2 to {MAX_NODES}, got {max_nodes}")
    if max_edges < 1:
        raise ValueError(f"max_edges: expected at least 1, got {max_edges}")

    def actions(state: Any) -> Sequence[Action]:
        operations, edges, _ = state
        legal: list[Action] = [TERMINATE] if 0 in _reaching(edges, max_nodes) else []
        if len(operations) < max_nodes - 2:
            legal += [("node", operation) for operation in range(OPERATIONS)]
        if len(edges) < max_edges:
            nodes = [*range(len(operations) + 1), max_nodes]
            for edge in itertools.combinations(nodes, 2):
                is_last = len(edges) + 1 == max_edges
                if edge in edges:
                    continue
                if not is_last or 0 in _reaching((*edges, edge), max_nodes):
                    legal.append(("edge", edge))
        return legal

    def step(state: Any, action: Action) -> State:
        operations, edges, _ = state
        if action == TERMINATE:
            return operations, edges, True
        kind, what = action
        if kind == "node":
            return (*operations, what), edges, False
        return operations, tuple(sorted((*edges, what))), False

    def point(state: Any) -> Int[np.ndarray, " 56"]:
        operations, edges, _ = state
        forward = _reaching([(b, a) for a, b in edges], 0)
        kept = sorted((_reaching(edges, max_nodes) & forward) | {0, max_nodes})
        place = {node: index for index, node in enumerate(kept)}
        matrix, nodes = np.zeros((MAX_NODES, MAX_NODES), np.int64), np.zeros(MAX_NODES, np.int64)
        for start, end in edges:
            if start in place and end in place:
                matrix[place[start], place[end]] = 1
        for node, index in place.items():
            named = {0: 1, max_nodes: 2 + OPERATIONS}
            nodes[index] = named[node] if node in named else 2 + operations[node - 1]
        return np.concatenate([matrix.reshape(-1), nodes])

    return Problem(((), (), False), actions, step, lambda state: bool(state[2]), point)


def _reaching(edges: Any, target: int) -> set[int]:
    """The nodes from which the target can be reached, itself among them."""
    found, waiting = {target}, [target]
    while waiting:
        end = waiting.pop()
        before = {start for start, stop in edges if stop == end} - found
        found |= before
        waiting += sorted(before)
    return found


# --- NASNet: encodings and actions; searching it takes trained networks of ImageNet's size ---

CELLS, BLOCKS, LAYER_KINDS, BRANCH = 2, 5, 12, 2


def nasnet(blocks: int = BLOCKS, layer_kinds: int = LAYER_KINDS) -> Problem:
    """A normal and a reduction cell of NASNet, from two empty cells.

    Actions: ("block", cell, left input, right input) adds a block; ("layer", cell, block, side,
    kind) adds a layer at the end of a block's left (0) or right (1) branch, which holds up to two;
    `TERMINATE`, once each cell has a block and no branch is empty. Inputs: 0 is the cell before, 1
    the one before that, i + 2 block i of the same cell.

    A state is (cells, whether terminated); a cell is a tuple of blocks (left layers, right layers,
    left input, right input). The point has 6 digits a block: two layers left, two right (1 to 12, 0
    absent), the inputs; five blocks a cell, zero where there is none: 60 digits.

    Args:
        blocks: of a cell at most, 1 to 5.
        layer_kinds: 1 to 12.

    Raises:
        ValueError: a bound out of range.
    """
    if not 1 <= blocks <= BLOCKS:
        raise ValueError(f"blocks: expected 1 to {BLOCKS}, got {blocks}")
    if not 1 <= layer_kinds <= LAYER_KINDS:
        raise ValueError(f"layer_kinds: expected 1 to {LAYER_KINDS}, got {layer_kinds}")

    def actions(state: Any) -> Sequence[Action]:
        cells, _ = state
        branches = [block[side] for cell in cells for block in cell for side in (0, 1)]
        legal: list[Action] = [TERMINATE] if all(cells) and all(branches) else []
        for number, cell in enumerate(cells):
            if len(cell) < blocks:
                inputs = itertools.product(range(2 + len(cell)), repeat=2)
                legal += [("block", number, left, right) for left, right in inputs]
            for place, block in enumerate(cell):
                for side in (0, 1):
                    if len(block[side]) < BRANCH:
                        kinds = range(1, layer_kinds + 1)
                        legal += [("layer", number, place, side, kind) for kind in kinds]
        return legal

    def step(state: Any, action: Action) -> State:
        cells, _ = state
        if action == TERMINATE:
            return cells, True
        cell = cells[action[1]]
        if action[0] == "block":
            cell = (*cell, ((), (), *action[2:]))
        else:
            _, _, place, side, kind = action
            block = list(cell[place])
            block[side] = (*block[side], kind)
            cell = (*cell[:place], tuple(block), *cell[place + 1 :])
        return tuple(cell if i == action[1] else cells[i] for i in range(CELLS)), False

    def point(state: Any) -> Int[np.ndarray, " 60"]:
        code = np.zeros((CELLS, BLOCKS, 6), np.int64)
        for number, cell in enumerate(state[0]):
            for place, (left, right, *inputs) in enumerate(cell):
                code[number, place, : len(left)] = left
                code[number, place, 2 : 2 + len(right)] = right
                code[number, place, 4:] = inputs
        return code.reshape(-1)

    return Problem(((((),) * CELLS), False), actions, step, lambda state: bool(state[1]), point)
