"""Searches as runs: killed in either phase, derived, refused; and architectures trained alone."""

import json

import jax
import numpy as np
import pytest

from enas import decisions
from experiments.enas import fixed, search
from experiments.runner import config as configs
from experiments.runner import loop
from experiments.runner.checks import ConfigError
from experiments.runner.workdir import saved_steps
from tests.experiments.runner.short_runs import same_states, stop_after

ONE = jax.devices()[:1]
CELL = "1: tanh | 2: 1 relu | 3: 1 identity"
SMALL = [
    ("steps", "12"),
    ("chunk", "1"),
    ("eval_every", "2"),
    ("checkpoint_every", "2"),
    ("derive.samples", "3"),
]
STOPS = {"weights": 3, "controller": 5}  # updates: 4 of weights and 2 of the controller in turns


def load(name, *changes):
    return configs.load(name, [*SMALL, *changes])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nothing disturbed, and what it derived."""
    config, folder = load("enas/rnn:pydoc,smoke"), tmp_path_factory.mktemp("whole")
    experiment = search.build(config)
    done = loop.train(experiment, config, folder / "run", devices=ONE)
    rows = experiment.finish(done.states[0], folder / "run")
    return experiment, config, folder / "run", done, rows


@pytest.mark.parametrize("phase", STOPS)
def test_a_search_goes_on_bit_for_bit_in_either_phase(whole, phase, tmp_path):
    experiment, config, folder, done, _ = whole
    stopped = loop.train(experiment, config, tmp_path, devices=ONE, stop=stop_after(STOPS[phase]))
    assert stopped.stopped
    assert stopped.step == STOPS[phase]
    ended = loop.train(experiment, config, tmp_path, devices=ONE)
    assert same_states(ended.states[0], done.states[0])
    assert (tmp_path / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    assert saved_steps(tmp_path)[-1] == 12


def test_a_search_writes_what_it_derived(whole):
    folder, rows = whole[2], whole[4]
    line = (folder / "architecture.txt").read_text().strip()
    ranked = json.loads((folder / "derived.json").read_text())
    rewards = [one["reward"] for one in ranked]
    assert ranked[0]["architecture"] == line
    assert rewards == sorted(rewards, reverse=True)
    assert len(rewards) == 3
    assert {row["metric"] for row in rows} == {"reward", "mean_reward", "shared_perplexity"}
    assert (folder / "architecture.png").exists()
    assert (folder / "search.png").exists()


def test_an_architecture_of_a_search_is_trained_alone(whole, tmp_path):
    folder = whole[2]
    changes = [("architecture", str(folder)), ("steps", "4")]
    config = configs.load("enas/rnn_fixed:pydoc,smoke", changes)
    experiment = fixed.build(config)
    done = loop.train(experiment, config, tmp_path / "run", devices=ONE)
    rows = experiment.finish(done.states[0], tmp_path / "run")
    assert {row["metric"] for row in rows} == {
        "valid_perplexity",
        "test_perplexity",
        "parameters",
    }
    assert (tmp_path / "run/architecture.txt").read_text() == (
        folder / "architecture.txt"
    ).read_text()
    assert (tmp_path / "run/model.npz").exists()


def test_without_a_controller_only_weights_are_trained():
    config = load("enas/rnn:pydoc,smoke", ("controller.train", "false"))
    assert [phase.name for phase in search.build(config).phases] == ["weights"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("num_seeds", "2"), ("seed_axis", "vmap")], "seed_axis"),
        ([("derive.ensemble", "2")], "derive.ensemble"),
        ([("data.path", "somewhere")], "data.path"),
        ([("children", "0")], "children"),
        ([("controller.temperature", "0.0")], "controller.temperature"),
        ([("batch_size", "90000")], "batch_size"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        search.build(load("enas/rnn:pydoc,smoke", *changes))


SPACE = tuple(
    decisions.Decision(node, labels)
    for node, labels in (
        ("1", ("tanh", "relu", "identity", "sigmoid")),
        ("2", ("1",)),
        ("2", ("tanh", "relu", "identity", "sigmoid")),
        ("3", ("1", "2")),
        ("3", ("tanh", "relu", "identity", "sigmoid")),
    )
)


def named(architecture, change="", seed="0"):
    changes = [("architecture", architecture), ("change", change), ("seed", seed)]
    config = configs.load("enas/rnn_fixed:pydoc,smoke", changes)
    choices = fixed.architecture(config, SPACE)
    return fixed.neighbour(config, SPACE, choices) if change else choices


def test_an_architecture_is_a_line_or_drawn():
    assert decisions.line(SPACE, named(CELL)) == CELL
    drawn = {tuple(named("random", seed=str(seed))) for seed in range(20)}
    assert len(drawn) > 10
    assert np.array_equal(named("random"), named("random"))
    for wrong, said in ((f"{CELL} | 4: 1 tanh", "3 nodes"), ("1: cosine | 2: 1 relu", "3 nodes")):
        with pytest.raises(ConfigError, match=said):
            named(wrong)
    with pytest.raises(ConfigError, match="the folder of a search that has ended"):
        named("nowhere")


def test_changes_are_those_of_the_thesis():
    assert decisions.line(SPACE, named(CELL, "swap")) == "1: relu | 2: 1 tanh | 3: 1 identity"
    bent = decisions.line(SPACE, named(CELL, "saturate")).replace("identity", "sigmoid")
    assert bent == "1: sigmoid | 2: 1 sigmoid | 3: 1 sigmoid"
    assert decisions.line(SPACE, named(CELL, "rewire")) == CELL.replace("3: 1", "3: 2")
    with pytest.raises(ConfigError, match="change"):
        named(CELL, "plain")
