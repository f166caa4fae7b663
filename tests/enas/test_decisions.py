"""A space as data: counted, enumerated, drawn, printed and read back."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from enas import decisions
from enas.decisions import Decision

FREE = [Decision("1", ("tanh", "relu")), Decision("2", ("a", "b", "c")), Decision("2", ("", "+1"))]
# The second choice is below the first, so that 0 leaves nothing but 0.
MASKED = [
    Decision("1", ("0", "1", "2")),
    Decision("2", ("0", "1", "2"), mask=lambda c: jnp.arange(3) <= c[0]),
]


def test_a_free_space_is_the_product_of_its_sizes():
    assert decisions.count(FREE) == 12
    every = decisions.enumerated(FREE)
    assert [tuple(one) for one in every] == list(itertools.product(range(2), range(3), range(2)))
    many = [Decision(str(i), ("a", "b", "c")) for i in range(100)]
    assert decisions.count(many) == 3**100


def test_masks_close_choices():
    every = {tuple(int(c) for c in one) for one in decisions.enumerated(MASKED)}
    assert every == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}
    assert decisions.count(MASKED) == 6
    with pytest.raises(ValueError, match="at most 5"):
        decisions.count(MASKED, most=5)
    with pytest.raises(ValueError, match=r"choices\[1\] \(node 2\): 2 is not open"):
        decisions.check_choices(MASKED, np.array([1, 2]))


def test_guided_draws_follow_priors_and_masks():
    drawn = np.asarray(decisions.guided(MASKED, jax.random.key(0), 4000))
    assert np.all(drawn[:, 1] <= drawn[:, 0])
    shares = np.bincount(drawn[:, 0], minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)
    prior = [Decision("1", ("", "+1"), prior=(0.6, 0.4)), Decision("2", ("", "+2"))]
    drawn = np.asarray(decisions.guided(prior, jax.random.key(1), 4000))
    np.testing.assert_allclose(drawn.mean(0), [0.4, 0.5], atol=0.03)


@pytest.mark.parametrize("space", [FREE, MASKED])
def test_a_line_is_read_back(space):
    for one in decisions.enumerated(space):
        text = decisions.line(space, one)
        np.testing.assert_array_equal(decisions.parse(space, text), one)
        bare = " | ".join(part.partition(":")[2].strip() for part in text.split("|"))
        np.testing.assert_array_equal(decisions.parse(space, bare), one)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1: tanh", "expected 2 nodes"),
        ("1: tanh | 3: a", "expected node 2, got '3'"),
        ("1: tan | 2: a", r"node 1: expected one of \('tanh', 'relu'\), got 'tan'"),
        ("1: tanh | 2:", "node 2: expected one of .* got nothing"),
        ("1: tanh | 2: a +1 +1", r"node 2: expected no more words, got '\+1'"),
    ],
)
def test_a_line_that_is_wrong_says_where(text, said):
    with pytest.raises(ValueError, match=said):
        decisions.parse(FREE, text)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ([], "expected at least one"),
        ([Decision("1", ("a", "a"))], "different words"),
        ([Decision("1", ("a b", "c"))], "without ' '"),
        ([Decision("1", ("a", "b"), prior=(0.5, 0.6))], "sum to 1"),
        ([Decision("1", ("a", "b")), Decision("2", ("a",)), Decision("1", ("a",))], "in a row"),
    ],
)
def test_what_is_no_space_is_refused(space, said):
    with pytest.raises(ValueError, match=said):
        decisions.check(space)
