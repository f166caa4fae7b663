"""Every config in experiments/configs keeps the contract, and what breaks it is caught."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from tests import contract
from tests.contract import check_config, check_learner
from tests.experiments.conftest import TOY
from tests.experiments.runner import toy as glue


class Learner(NamedTuple):
    init: Any
    update: Any


@pytest.fixture
def learner(toy):
    experiment = glue.build(toy("traced"))
    return Learner(experiment.init, experiment.phases[0].update)


@pytest.fixture
def batch():
    return jax.tree.map(jnp.asarray, glue._host_batch(8, 16)(0, 0))


@pytest.mark.parametrize("name", sorted(configs.available()))
def test_configs(name):
    check_config(name)


@pytest.mark.slow  # up to half a minute each to trace
@pytest.mark.parametrize("name", sorted(configs.available()))
def test_updates_of_large_networks_and_of_other_sizes(name):
    check_config(name, rest=True)


def test_a_config_of_large_networks_alone_is_caught(monkeypatch):
    monkeypatch.setattr(contract, "LARGE", 1)
    with pytest.raises(AssertionError, match="expected an argument of fewer than 1 arrays"):
        check_config(TOY)
    check_config(TOY, rest=True)


def test_the_toy_keeps_the_contract(learner, batch):
    state, metrics = check_learner(learner, batch)
    assert int(state.step) == 2
    assert float(metrics["loss"]) > 0
    check_config(TOY)


def no_step(update):
    def wrong(state, batch):
        after, metrics = update(state, batch)
        return after.replace(step=state.step), metrics

    return wrong


def splits_key(update):
    def wrong(state, batch):
        after, metrics = update(state, batch)
        return after.replace(key=jax.random.split(state.key)[0]), metrics

    return wrong


def wider(update):
    def wrong(state, batch):
        after, metrics = update(state, batch)
        return after.replace(best=after.best.astype(jnp.float16)), metrics

    return wrong


def other_tree(update):
    def wrong(state, batch):
        after, metrics = update(state, batch)
        return after.replace(params={**after.params, "new": jnp.zeros(())}), metrics

    return wrong


def vector(update):
    def wrong(state, batch):
        after, metrics = update(state, batch)
        return after, {**metrics, "each": jnp.zeros(3)}

    return wrong


def infinite(update):
    def wrong(state, batch):
        after, metrics = update(state, batch)
        return after, {**metrics, "loss": metrics["loss"] / 0}

    return wrong


def not_vmappable(update):
    def wrong(state, batch):
        after, metrics = update(state, batch)
        bias = jax.pure_callback(
            lambda x: np.asarray(x) * 1, jax.ShapeDtypeStruct((), np.float32), after.params["bias"]
        )
        return after.replace(params={**after.params, "bias": bias}), metrics

    return wrong


def not_deterministic(update):
    calls = []

    def count(x):
        calls.append(1)
        return np.float32(x + len(calls))

    def wrong(state, batch):
        after, metrics = update(state, batch)
        noise = jax.pure_callback(
            count, jax.ShapeDtypeStruct((), np.float32), after.best, vmap_method="sequential"
        )
        return after.replace(best=noise), metrics

    return wrong


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_step, "state.step: expected 1, got 0"),
        (splits_key, "state.key: expected the run's key, unchanged"),
        (wider, "update changed state leaf best from float32"),
        (other_tree, "update changed the state's structure"),
        (vector, r"metric each: expected float32 \[\]"),
        (infinite, "metric loss: expected a finite value"),
        (not_vmappable, "vmap"),
        (not_deterministic, "the same update twice gave different bits"),
    ],
)
def test_a_broken_update_is_caught(learner, batch, spoil, words):
    broken = learner._replace(update=spoil(learner.update))
    with pytest.raises((AssertionError, NotImplementedError, ValueError), match=words):
        check_learner(broken, batch)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: s.replace(step=jnp.asarray(1, jnp.int32)), "step: expected 0 at first"),
        (lambda s: s.replace(step=jnp.zeros(())), r"step: expected int32 \[\]"),
        (lambda s: s.replace(key=jax.random.key_data(s.key)), "key: expected a typed key"),
        (lambda s: s.replace(key=jax.random.fold_in(s.key, 1)), "expected the key given to init"),
        (lambda s: s.replace(best=jnp.asarray(jnp.nan)), "state leaf best is NaN"),
    ],
)
def test_a_broken_init_is_caught(learner, batch, spoil, words):
    broken = learner._replace(init=lambda key: spoil(learner.init(key)))
    with pytest.raises(AssertionError, match=words):
        check_learner(broken, batch)


GOOD = (
    '"""A name that one can list it by.\n\nCommand: python -m experiments.run --config={name} '
    '--workdir=w\nTime: 5 s. Expected: error 0.4.\n"""\n'
    "from tests.experiments.runner.configs.toy import get_config\n"
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text, None),
        (lambda text: text.replace("A name that one can list it by.", "A"), "list it by"),
        (lambda text: text.replace("-m experiments.run", "-m other"), "expected a command"),
        (lambda text: text.replace(" --workdir=w", " --workdir=w --config.sed=1"), "mean 'seed'"),
        (lambda text: text.replace("5 s", "soon"), "the time that it takes"),
        (lambda text: text.replace("0.4", "low"), "the number to expect"),
        (lambda text: text + "ARGUMENTS = ('resident', 'resdent')\n", "did you mean 'resident'"),
    ],
)
def test_a_config_with_a_poor_docstring_is_caught(tmp_path, change, words):
    path = tmp_path / "mine.py"
    path.write_text(change(GOOD.format(name=path)))
    if words is None:
        check_config(str(path))
        return
    with pytest.raises((AssertionError, ConfigError), match=words):
        check_config(str(path))
