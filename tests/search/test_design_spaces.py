"""Design spaces: how many networks there are, what their encodings say, what is legal."""

import itertools

import numpy as np
import pytest

from search import design_spaces, mcts
from search.design_spaces import TERMINATE
from search.interface import generator
from search.spaces import choices


def everything(problem):
    """All terminal states, by trying every action."""
    waiting, seen, ends = [problem.root], {problem.root}, set()
    while waiting:
        state = waiting.pop()
        if problem.terminal(state):
            ends.add(state)
            continue
        actions = list(problem.actions(state))
        assert len(set(actions)) == len(actions) > 0
        for action in actions:
            new = problem.step(state, action)
            if new not in seen:
                seen.add(new)
                waiting.append(new)
    return ends


@pytest.mark.parametrize("order", ["global", "sequential"])
def test_both_orders_reach_all_plain_cnns(order):
    problem = design_spaces.plain_cnn(order)
    ends = everything(problem)
    codes = {tuple(problem.point(state)) for state in ends}
    assert len(ends) == len(codes) == sum(4**depth for depth in range(1, 6)) == 1364
    assert codes == {tuple(code) for code in design_spaces.plain_cnns()}


def test_plain_cnns_are_encoded_as_described():
    both = [
        design_spaces.plain_cnn("global").point((3, 1, 2, 1, 2, 2, 1)),
        design_spaces.plain_cnn("sequential").point(
            ("add", 1, 2, "add", 2, 2, "add", 1, 1, TERMINATE)
        ),
    ]
    for code in both:
        np.testing.assert_array_equal(code, [3, 1, 2, 1, 0, 0, 2, 2, 1, 0, 0])


def test_global_decides_the_depth_first_and_sequential_a_layer_at_a_time():
    ahead, layered = design_spaces.plain_cnn("global"), design_spaces.plain_cnn("sequential")
    assert list(ahead.actions(())) == [1, 2, 3, 4, 5]
    assert list(layered.actions(())) == ["add"]
    assert list(layered.actions(("add", 1, 1))) == ["add", TERMINATE]
    assert layered.terminal(("add", 1, 1) * 5)  # no deeper


def test_choices_are_decided_in_the_order_given():
    space = choices([2, 3, 4])
    problem = design_spaces.choices_in_order(space, [2, 0, 1])
    assert [len(problem.actions(state)) for state in [(), (0,), (0, 0)]] == [4, 2, 3]
    points = {tuple(problem.point(state)) for state in everything(problem)}
    assert points == {tuple(cell) for cell in space.every()}
    with pytest.raises(ValueError, match="order: expected 0 to 2, each once, got"):
        design_spaces.choices_in_order(space, [0, 1, 1])


def test_cells_of_nasbench101_by_brute_force():
    """Every labelled cell of up to 4 nodes and 3 edges whose output can be reached."""
    problem = design_spaces.nasbench101(max_nodes=4, max_edges=3)
    expected = set()
    for inner in range(3):
        nodes = [0, *range(1, inner + 1), 4]
        pairs = list(itertools.combinations(nodes, 2))
        for size in range(1, min(3, len(pairs)) + 1):
            for edges in itertools.combinations(pairs, size):
                reached = {0}
                for start, end in sorted(edges):
                    if start in reached:
                        reached.add(end)
                if 4 in reached:
                    for kinds in itertools.product(range(3), repeat=inner):
                        expected.add((kinds, tuple(sorted(edges)), True))
    assert everything(problem) == expected


def test_a_nasbench101_cell_is_encoded_without_nodes_that_lead_nowhere():
    problem = design_spaces.nasbench101()
    state = problem.root
    for action in [
        ("node", 2), ("node", 0), ("node", 1), ("edge", (0, 1)), ("edge", (0, 2)),
        ("edge", (2, 7)), ("edge", (0, 7)), ("edge", (3, 7)), TERMINATE,
    ]:  # fmt: skip
        assert action in problem.actions(state)
        state = problem.step(state, action)
    assert problem.terminal(state)
    code = problem.point(state)
    assert code.shape == (56,)
    # Node 1 leads nowhere and nothing leads to node 3: input, node 2, output are left.
    matrix = np.zeros((7, 7), int)
    matrix[0, 1] = matrix[1, 2] = matrix[0, 2] = 1
    np.testing.assert_array_equal(code[:49].reshape(7, 7), matrix)
    np.testing.assert_array_equal(code[49:], [1, 2, 5, 0, 0, 0, 0])


@pytest.mark.parametrize("problem", [design_spaces.nasbench101(), design_spaces.nasnet()])
def test_random_cells_keep_the_bounds(problem):
    for seed in range(10):
        state = mcts.rollout(problem, problem.root, generator(seed))
        code = problem.point(state)
        if len(code) == 56:
            assert code[:49].sum() <= 9
            assert np.all(np.triu(code[:49].reshape(7, 7), 1) == code[:49].reshape(7, 7))
            assert code[49] == 1
            assert np.sum(code[49:] == 5) == 1
        else:
            assert code.shape == (60,)
            blocks = code.reshape(2, 5, 6)
            used = blocks[..., 0] > 0
            assert used[:, 0].all(), "each cell has a block"
            assert (blocks[~used] == 0).all()
            assert (blocks[..., 2] > 0)[used].all(), "no branch is empty"
            assert blocks[..., :4].max() <= 12
            assert (blocks[..., 4:] <= 1 + np.arange(5)[:, None]).all(), "inputs from before"


def test_the_actions_of_a_small_nasnet():
    problem = design_spaces.nasnet(blocks=2, layer_kinds=3)
    state = problem.root
    assert len(problem.actions(state)) == 2 * 4  # a first block of either cell, 2 x 2 inputs
    for action in [("block", 0, 1, 0), ("layer", 0, 0, 0, 3), ("layer", 0, 0, 0, 1)]:
        state = problem.step(state, action)
    # Left is full; right 3 kinds; a second block 3 x 3; the other cell's first 2 x 2.
    assert len(problem.actions(state)) == 3 + 9 + 4
    assert TERMINATE not in problem.actions(state)
    for action in [("layer", 0, 0, 1, 2), ("block", 1, 0, 0)]:
        state = problem.step(state, action)
    assert TERMINATE not in problem.actions(state)
    for action in [("layer", 1, 0, 0, 1), ("layer", 1, 0, 1, 2), ("block", 0, 2, 1)]:
        state = problem.step(state, action)
    for action in [("layer", 0, 1, 0, 1), ("layer", 0, 1, 1, 1), TERMINATE]:
        assert action in problem.actions(state)
        state = problem.step(state, action)
    code = problem.point(state).reshape(2, 5, 6)
    np.testing.assert_array_equal(code[0, 0], [3, 1, 2, 0, 1, 0])
    np.testing.assert_array_equal(code[0, 1], [1, 0, 1, 0, 2, 1])
    np.testing.assert_array_equal(code[1, 0], [1, 0, 2, 0, 0, 0])
    assert code.sum() == 3 + 1 + 2 + 1 + 1 + 1 + 2 + 1 + 1 + 2


def test_how_many_states_the_plain_spaces_pass_through():
    """Prefixes by counting: the tree that a search may grow."""
    passed = set()
    for state in everything(design_spaces.plain_cnn("global")):
        passed |= {state[:i] for i in range(len(state) + 1)}
    assert len(passed) == 1 + sum(2**k for depth in range(1, 6) for k in range(2 * depth + 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: design_spaces.nasbench101(max_nodes=8), "max_nodes: expected 2 to 7, got 8"),
        (lambda: design_spaces.nasbench101(max_edges=0), "max_edges: expected at least 1, got 0"),
        (lambda: design_spaces.nasnet(blocks=6), "blocks: expected 1 to 5, got 6"),
        (lambda: design_spaces.nasnet(layer_kinds=13), "layer_kinds: expected 1 to 12, got 13"),
    ],
)
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_siblings_by_hand():
    """With a reward that is the depth, the children of the root differ and no others do."""
    known = {tuple(map(int, code)): float(code[0]) for code in design_spaces.plain_cnns()}
    found = design_spaces.siblings(design_spaces.plain_cnn("global"), known)
    nodes = sum(2**k for depth in range(1, 6) for k in range(2 * depth))
    assert len(found.distance) == 10 + nodes
    assert sorted(found.distance[found.distance > 1e-9].round(9)) == [1] * 4 + [2] * 3 + [3, 3, 4]
    assert sorted(np.unique(found.overlap)) == [0.0, 0.5]
    layered = design_spaces.siblings(design_spaces.plain_cnn("sequential"), known)
    assert layered.distance.mean() > 0
