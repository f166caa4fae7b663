"""The space of recurrent cells, against a language model written plainly for one cell."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from enas import decisions, normalization, tasks
from enas.spaces import rnn

VOCABULARY, HIDDEN, BATCH, TIME, NODES = 5, 3, 4, 3, 5
SIZES = {"vocabulary": VOCABULARY, "hidden": HIDDEN, "nodes": NODES, "scale": 0.7}


def drawn(net, *, seed=0, time=TIME):
    """Weights with no two alike, a state, and tokens."""
    keys = jax.random.split(jax.random.key(seed), 4)
    weights = net.init(keys[0])
    leaves, tree = jax.tree.flatten(weights)
    noise = [
        0.3 * jax.random.normal(jax.random.fold_in(keys[1], i), leaf.shape)
        for i, leaf in enumerate(leaves)
    ]
    weights = tree.unflatten([leaf + each for leaf, each in zip(leaves, noise, strict=True)])
    hidden = jax.random.normal(keys[2], (BATCH, HIDDEN))
    return weights, hidden, jax.random.randint(keys[3], (BATCH, time), 0, VOCABULARY)


def architectures(net, number=50):
    return np.asarray(decisions.guided(net.decisions, jax.random.key(7), number))


def score(outputs):
    """A function of all outputs `(logits, hidden)`, with another slope for each; axes may lead."""
    total = 0.0
    for each, axes in zip(outputs, (3, 2), strict=True):
        shape = each.shape[-axes:]
        slopes = np.sin(np.arange(math.prod(shape), dtype=each.dtype)).reshape(shape)
        total += (each * slopes[(None,) * (each.ndim - axes)]).sum(tuple(range(-axes, 0)))
    return total


def plain(weights, choices, hidden, tokens):
    """The text's equations in NumPy, one step and one node after the other; axes may lead."""

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    functions = [np.tanh, lambda z: np.maximum(z, 0.0), lambda z: z, sigmoid]
    table, width, logits = weights["embedding"]["table"], hidden.shape[-1], []
    for step in range(tokens.shape[1]):
        x = table[..., tokens[:, step], :]
        both = x @ weights["node1"]["x"] + hidden @ weights["node1"]["h"]
        c = sigmoid(both[..., :width])
        values = [c * functions[choices[0]](both[..., width:]) + (1 - c) * hidden]
        taken = set()
        for node in range(2, len(choices) // 2 + 2):
            j, f = choices[2 * node - 3], choices[2 * node - 2]
            product = values[j] @ weights[f"node{node}"]["from"][..., j, :, :]
            c = sigmoid(product[..., :width])
            values.append(c * functions[f](product[..., width:]) + (1 - c) * values[j])
            taken.add(int(j))
        ends = [value for node, value in enumerate(values) if node not in taken]
        hidden = sum(ends) / len(ends)
        if "output" in weights:
            bn = weights["output"]["bn"]
            centred = hidden - hidden.mean(-2, keepdims=True)
            spread = np.sqrt((centred**2).mean(-2, keepdims=True) + 1e-5)
            hidden = bn["scale"][..., None, :] * centred / spread + bn["offset"][..., None, :]
        bias = weights["softmax"]["bias"][..., None, :]
        logits.append(hidden @ np.swapaxes(table, -1, -2) + bias)
    return np.stack(logits, axis=-2), hidden


def differences(function, at, step=1e-6):
    """The gradient of a function of a tree by central differences, all in one call."""
    leaves, tree = jax.tree.flatten(at)
    flat = np.concatenate([leaf.ravel() for leaf in leaves])
    moved = flat + step * np.concatenate([np.eye(flat.size), -np.eye(flat.size)])
    splits = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def unflatten(rows):
        parts = np.split(rows, splits, axis=-1)
        shapes = [(*rows.shape[:-1], *leaf.shape) for leaf in leaves]
        return tree.unflatten(
            [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        )

    up, down = np.split(function(unflatten(moved)), 2)
    return unflatten((up - down) / (2 * step))


@pytest.mark.parametrize("normalize", [True, False])
def test_children_are_plain_models(normalize):
    net = rnn.supernet(**SIZES, normalize=normalize)
    weights, hidden, tokens = drawn(net)
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)  # one program for all
    def run(weights, choices, hidden):
        def scored(weights, hidden):
            outputs, _ = net.apply(weights, choices, (hidden, tokens), train=True)
            return score(outputs), outputs

        return jax.grad(scored, argnums=(0, 1), has_aux=True)(weights, hidden)

    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), (weights, hidden))
    words = np.asarray(tokens)
    for choices in architectures(net):
        grads, outputs = run(weights, choices, hidden)
        expected = plain(wide[0], choices, wide[1], words)
        chex.assert_trees_all_close(
            outputs, jax.tree.map(np.float32, expected), rtol=1e-4, atol=1e-4
        )
        exact = differences(
            lambda at, choices=choices: score(plain(at[0], choices, at[1], words)), wide
        )
        chex.assert_trees_all_close(grads, jax.tree.map(np.float32, exact), rtol=1e-4, atol=1e-4)
        for node in range(2, NODES + 1):
            unused = np.arange(node - 1) != choices[2 * node - 3]
            assert not grads[0][f"node{node}"]["from"][unused].any()


def test_a_child_alone_is_the_child_of_the_supernet():
    net = rnn.supernet(**SIZES)
    weights, hidden, tokens = drawn(net)

    def scored(weights, choices):
        outputs, _ = net.apply(weights, choices, (hidden, tokens), train=True)
        return score(outputs), outputs

    shared = jax.jit(jax.value_and_grad(scored, has_aux=True))
    # all activations, and the longest chain and the widest fan
    for text in (
        "1: tanh | 2: 1 relu | 3: 2 identity | 4: 3 sigmoid | 5: 4 relu",
        "1: sigmoid | 2: 1 tanh | 3: 1 relu | 4: 1 sigmoid | 5: 1 identity",
    ):
        choices = decisions.parse(net.decisions, text)
        alone = net.restrict(weights, choices)
        assert {name: len(alone[name]["from"]) for name in alone if "from" in alone[name]} == {
            f"node{node}": 1 for node in range(2, NODES + 1)
        }
        child = jax.jit(lambda w, c=choices: jax.value_and_grad(scored, has_aux=True)(w, c))
        (loss, outputs), grads = shared(weights, jnp.asarray(choices))
        for given in (alone, weights):
            (its_loss, its_outputs), its_grads = child(given)
            chex.assert_trees_all_close((its_loss, its_outputs), (loss, outputs), rtol=1e-5)
            expected = net.restrict(grads, choices) if given is alone else grads
            chex.assert_trees_all_close(its_grads, expected, rtol=1e-5, atol=1e-5)


def test_many_children_and_many_seeds_at_once():
    net = rnn.supernet(**SIZES)
    pairs = [drawn(net, seed=seed)[0] for seed in range(2)]
    _, hidden, tokens = drawn(net)
    many = jax.tree.map(lambda *each: jnp.stack(each), *pairs)
    chosen = jnp.asarray(architectures(net, 3))

    def graded(weights, choices):
        def scored(weights):
            outputs, _ = net.apply(weights, choices, (hidden, tokens), train=False)
            return score(outputs), outputs

        return jax.grad(scored, has_aux=True)(weights)

    at_once = jax.jit(jax.vmap(jax.vmap(graded, (None, 0)), (0, None)))(many, chosen)
    one = jax.jit(graded)
    for i, weights in enumerate(pairs):
        for j, choices in enumerate(chosen):
            found = jax.tree.map(lambda x, i=i, j=j: x[i, j], at_once)
            chex.assert_trees_all_close(found, one(weights, choices), rtol=1e-5, atol=1e-5)


def test_relu_has_no_gradient_at_zero():
    net = rnn.supernet(vocabulary=2, hidden=1, nodes=1, normalize=False)
    weights = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0)))
    weights["embedding"]["table"] = jnp.ones((2, 1))

    def total(weights, choices):
        inputs = (jnp.zeros((1, 1)), jnp.zeros((1, 1), jnp.int32))
        return jnp.sum(net.apply(weights, choices, inputs, train=True)[0][0])

    relu = np.array([rnn.ACTIVATIONS.index("relu")], np.int32)
    for choices in (relu, jnp.asarray(relu)):
        assert not jax.grad(total)(weights, choices)["node1"]["x"].any()


def test_segments_go_on_from_each_other():
    net = rnn.supernet(**SIZES, normalize=False)
    weights, hidden, tokens = drawn(net, time=4)
    choices = jnp.asarray(architectures(net, 1)[0])

    def run(hidden, tokens):
        return net.apply(weights, choices, (hidden, tokens), train=True)[0]

    whole, last = run(hidden, tokens)
    first, middle = run(hidden, tokens[:, :3])
    second, end = run(middle, tokens[:, 3:])
    chex.assert_trees_all_close((jnp.concatenate([first, second], 1), end), (whole, last))


def test_a_childs_reward_is_of_a_fresh_state_and_any_number_of_sequences():
    net = rnn.supernet(**SIZES)
    weights, hidden, tokens = drawn(net)
    child = tasks.child(tasks.language(net, batch_size=BATCH + 1, hidden=HIDDEN, constant=80.0))
    choices = architectures(net, 1)[0]
    targets = (tokens + 1) % VOCABULARY
    batch = {"starts": jnp.asarray(False), "targets": targets, "tokens": tokens}
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), (weights, 0 * hidden))
    logits, _ = plain(wide[0], choices, wide[1], np.asarray(tokens))
    likely = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    nats = -np.log(np.take_along_axis(likely, np.asarray(targets)[..., None], -1)).mean()
    reward = child.reward(weights, jnp.asarray(choices), batch)
    assert float(reward) == pytest.approx(80.0 / np.exp(nats), rel=1e-4)


def test_running_averages_follow_the_mean_of_a_segments_steps():
    net = rnn.supernet(**SIZES)
    weights, hidden, tokens = drawn(net)
    choices = architectures(net, 1)[0]
    own = net.restrict(weights, choices)
    averages = normalization.fresh(own)
    assert list(averages) == ["output/bn"]

    (logits, _), after = net.apply(own, choices, (hidden, tokens), train=True, averages=averages)
    (same, _), none = net.apply(own, choices, (hidden, tokens), train=True)
    assert none is None
    chex.assert_trees_all_close(logits, same, rtol=1e-6)
    steps, state = [], hidden
    for step in range(TIME):  # a segment of one step each tells a step's statistics
        word = tokens[:, step : step + 1]
        (_, state), moved = net.apply(own, choices, (state, word), train=True, averages=averages)
        steps.append(moved)
    mean = jax.tree.map(lambda *each: sum(each) / TIME, *steps)
    chex.assert_trees_all_close(after, mean, rtol=1e-5, atol=1e-6)
    assert not np.allclose(after["output/bn"][0], 0.0)

    # In the test they normalise, and stay; so one sequence alone is what it is among others.
    whole, kept = net.apply(own, choices, (hidden, tokens), train=False, averages=after)
    chex.assert_trees_all_equal(kept, after)
    one, _ = net.apply(own, choices, (hidden[:1], tokens[:1]), train=False, averages=after)
    chex.assert_trees_all_close(one, jax.tree.map(lambda x: x[:1], whole), rtol=1e-5)
    grads = jax.grad(
        lambda w: score(net.apply(w, choices, (hidden, tokens), train=True, averages=after)[0])
    )(own)
    expected = jax.grad(lambda w: score(net.apply(w, choices, (hidden, tokens), train=True)[0]))
    chex.assert_trees_all_close(grads, expected(own), rtol=1e-5, atol=1e-6)


def units(dropout, tokens, *, gate=1e3, recurrent=0.0, start=0.0, key=3, train=True):
    """Each sequence's and step's unit of its own word, in a cell that shows its masks.

    Words are one-hot, so that logits are the cell's output; its one node is identity, so that with
    an open gate it is the word plus `recurrent` times the output before.
    """
    width = 8
    net = rnn.supernet(vocabulary=width, hidden=width, nodes=1, normalize=False, dropout=dropout)
    weights = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0)))
    eye, full = jnp.eye(width), jnp.full((width, width), gate)
    weights["embedding"]["table"] = eye
    weights["node1"] = {
        "x": jnp.concatenate([full, eye], 1),
        "h": jnp.concatenate([0.0 * eye, recurrent * eye], 1),
    }
    inputs = (jnp.full((len(tokens), width), start), jnp.asarray(tokens))
    choices = np.array([rnn.ACTIVATIONS.index("identity")])
    key = None if key is None else jax.random.key(key)
    (logits, _), _ = net.apply(weights, choices, inputs, train=train, key=key)
    return np.take_along_axis(np.asarray(logits), tokens[..., None], 2)[..., 0]


CONSTANT = np.repeat(np.arange(32) % 8, 4).reshape(32, 4).astype(np.int32)


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_dropout_of_units_lasts_for_a_segment(where):
    dropout = rnn.Dropout(**{where: 0.75})
    seen = units(dropout, CONSTANT)
    assert set(seen[:, 0]) == {0.0, 4.0}
    assert (seen == seen[:, :1]).all()
    assert len({tuple(seen[tokens, 0]) for tokens in np.arange(32).reshape(4, 8)}) > 1
    assert (units(dropout, CONSTANT, key=4) != seen).any()
    assert (units(dropout, CONSTANT, key=None) == 1.0).all()
    assert (units(dropout, CONSTANT, train=False) == 1.0).all()


def test_dropout_of_words_drops_their_embeddings_everywhere():
    tokens = np.random.default_rng(0).integers(0, 8, (32, 4), np.int32)
    seen = units(rnn.Dropout(words=0.5), tokens)
    by_word = [set(seen[tokens == word]) for word in range(8)]
    assert all(len(each) == 1 for each in by_word)
    assert set.union(*by_word) == {0.0, 2.0}


def test_dropout_of_the_state_is_on_its_way_into_the_product_alone():
    dropout = rnn.Dropout(hidden=0.5)
    rows = {tuple(row) for row in units(dropout, CONSTANT, recurrent=1.0)}
    assert rows == {(1.0, 1.0, 1.0, 1.0), (1.0, 3.0, 7.0, 15.0)}
    assert (units(dropout, CONSTANT, recurrent=1.0, start=1.0, gate=-1e3) == 1.0).all()


@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_with_dropout(normalize):
    """Those written out, against differences."""
    rates = rnn.Dropout(0.3, 0.3, 0.5, 0.3)
    net = rnn.supernet(**SIZES, normalize=normalize, dropout=rates)
    weights, hidden, tokens = drawn(net)
    choices, key = jnp.asarray(architectures(net, 1)[0]), jax.random.key(1)

    def scored(weights, hidden):
        return score(net.apply(weights, choices, (hidden, tokens), train=True, key=key)[0])

    smooth = jnp.asarray([rnn.ACTIVATIONS.index("tanh")] * NODES, jnp.int32)
    choices = choices.at[::2].set(smooth).at[0].set(rnn.ACTIVATIONS.index("sigmoid"))
    jax.test_util.check_grads(
        jax.jit(scored), (weights, hidden), order=1, modes=["rev"], rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_number_of_cells(nodes):
    space = rnn.decisions(nodes)
    number = 4**nodes * math.factorial(nodes - 1)
    assert decisions.count(space) == number
    assert len(np.unique(decisions.enumerated(space), axis=0)) == number


def test_the_texts_space():
    space = rnn.decisions(12)
    decisions.check(space)
    assert decisions.count(space) == pytest.approx(6.7e14, rel=0.01)


def test_a_cell_is_a_line_and_a_graph():
    net = rnn.supernet(vocabulary=2, hidden=1, nodes=4)
    text = "1: tanh | 2: 1 relu | 3: 2 relu | 4: 1 tanh"  # the text's example
    choices = decisions.parse(net.decisions, text)
    assert decisions.line(net.decisions, choices) == text
    (graph,) = net.graphs(choices).values()
    assert [graph.nodes[node] for node in "1234"] == ["tanh", "relu", "relu", "tanh"]
    assert {(start, end) for start, end, _ in graph.edges} == {
        ("x", "1"), ("h", "1"), ("1", "2"), ("2", "3"), ("1", "4"),
        ("3", "average"), ("4", "average"),
    }  # fmt: skip
    assert list(graph.nodes) == ["x", "h", "1", "2", "3", "4", "average"]


def test_weights_start_in_the_interval():
    net = rnn.supernet(vocabulary=50, hidden=20, nodes=3, scale=0.04)
    weights = net.init(jax.random.key(0))
    bn, bias = weights.pop("output")["bn"], weights.pop("softmax")["bias"]
    assert (bn["scale"] == 1).all()
    assert not bn["offset"].any()
    assert not bias.any()
    for leaf in jax.tree.leaves(weights):
        assert 0.038 < jnp.max(jnp.abs(leaf)) <= 0.04
    assert weights["node3"]["from"].shape == (2, 20, 40)
    assert "output" not in rnn.supernet(vocabulary=2, normalize=False).init(jax.random.key(0))


def test_what_is_refused():
    with pytest.raises(ValueError, match="nodes: expected at least 1, got 0"):
        rnn.supernet(vocabulary=2, nodes=0)
    with pytest.raises(ValueError, match="vocabulary, hidden"):
        rnn.supernet(vocabulary=0)
    with pytest.raises(ValueError, match=r"dropout.hidden: expected a rate in \[0, 1\), got 1.0"):
        rnn.supernet(vocabulary=2, dropout=rnn.Dropout(hidden=1.0))
    net = rnn.supernet(**SIZES)
    weights, hidden, tokens = drawn(net)
    choices = np.zeros(len(net.decisions), np.int32)
    with pytest.raises(ValueError, match="at least two sequences"):
        net.apply(weights, choices, (hidden[:1], tokens[:1]), train=True)
    for call in (lambda c: net.restrict(weights, c), net.graphs):
        with pytest.raises(ValueError, match="choices"):
            call(np.full(len(net.decisions), 9))
