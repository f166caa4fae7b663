import functools
import inspect
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.nco import decoding, solver_pool, training
from experiments.nco import tsp as nco_tsp
from experiments.report import table as results_table
from experiments.runner import config as configs
from experiments.runner import pretrained
from experiments.runner.checks import ConfigError
from nco import actor_critic, critic, policy_gradient, search
from nco.policy_gradient import Policy, Sample, greedy_rollout, moving_average, multi_sample
from nco.problems import tsp
from tests.contract import check_learner
from tests.nco.test_actor_critic import make


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("baseline", "none"),
        ("batch_size", "0"),
        ("model.hidden", "-1"),
        ("optimizer.learning_rate", "0.0"),
        ("finish.temperature", "-2.0"),
    ],
)
def test_an_impossible_value_names_its_key(key, value):
    config = configs.load("nco/tsp:20,smoke", [(key, value)])
    with pytest.raises(ConfigError, match=key.split(".")[-1]):
        nco_tsp.build(config)


def test_shared_baseline_needs_two_samples():
    config = configs.load("nco/tsp:20,smoke", [("baseline", "multi_sample")])
    with pytest.raises(ConfigError, match="num_samples"):
        nco_tsp.build(config)


def test_greedy_rollout_needs_two_instances():
    config = configs.load("nco/tsp:20,smoke", [("baseline", "greedy_rollout"), ("batch_size", "1")])
    with pytest.raises(ConfigError, match="batch_size: expected at least 2"):
        nco_tsp.build(config)


def test_a_missing_solver_is_found_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools", None)
    config = configs.load("nco/tsp:20,demo")
    with pytest.raises(ConfigError, match=r"finish.solvers: .*pip install ortools"):
        nco_tsp.build(config)


def test_paper_preset_holds_the_seeds_values():
    config = configs.load("nco/tsp:100,paper")
    assert (config.batch_size, config.num_samples, config.baseline) == (128, 1, "critic")
    assert config.optimizer.to_dict() == {
        "name": "adam",
        "learning_rate": 1e-4,
        "decay_rate": 0.96,
        "decay_steps": 5000,
        "decay_begin": 0,
        "max_grad_norm": 1.0,
    }
    assert (config.model.hidden, config.model.scale, config.model.clip) == (128, 0.08, 10.0)
    assert (config.model.embed, config.model.glimpses) == (128, 1)
    assert (config.model.center, config.model.spread, config.entropy_weight) == (0.0, 1.0, 0.0)
    finish = config.finish
    assert (finish.instances, finish.samples, finish.search_candidates) == (1000, *[1_280_000] * 2)
    tsps = [configs.load(f"nco/tsp:{n},paper") for n in (20, 50, 100)]
    assert [each.finish.temperature for each in tsps] == [2.0, 2.2, 1.5]
    assert [each.optimizer.learning_rate for each in tsps] == [1e-3, 1e-3, 1e-4]
    assert [each.finish.search_rate for each in tsps] == [1e-5, 1e-5, 1e-6]  # a hundredth
    assert [each.finish.active_steps for each in tsps] == [10_000] * 3
    assert [each.finish.scratch_steps for each in tsps] == [100_000, 100_000, 200_000]
    assert inspect.signature(critic.apply).parameters["process_steps"].default == 3
    searched = inspect.signature(search.active_search).parameters
    assert (searched["batch"].default, searched["decay"].default) == (128, 0.99)


def test_the_critic_of_a_config_reads_what_the_policy_reads():
    """Features centred and scaled by hand give what `model.center` and `model.spread` do."""

    def advantage(inputs, **model):
        overrides = [("baseline", "critic"), *((f"model.{k}", str(v)) for k, v in model.items())]
        config = configs.load("nco/tsp:20,smoke", overrides)
        baseline = training._baseline(config, tsp.problem, None)

        @jax.jit
        def first(inputs):
            state = baseline.init(jax.random.key(1), None, inputs)
            return baseline.update(state, jnp.zeros((1, 4)), inputs)[0]

        return first(inputs)

    inputs = tsp.sample(jax.random.key(0), 4, 6)
    found = advantage(inputs, center=0.5, spread=0.25)
    np.testing.assert_allclose(found, advantage((inputs - 0.5) / 0.25), atol=1e-6)
    assert np.abs(found - advantage(inputs)).max() > 1e-5


def test_finish_compares_and_saves_a_model(tmp_path, monkeypatch, capsys):
    chosen = {"instances": 3, "samples": 4, "solvers": "true", "real_cities": "true"}
    small = [(f"finish.{key}", str(value)) for key, value in chosen.items()]
    config = configs.load("nco/tsp:20,smoke", [("cities", "6"), *small])
    experiment = nco_tsp.build(config)
    state = jax.jit(experiment.init)(jax.random.key(0))
    rows = experiment.finish(state, tmp_path)
    values = {row["name"]: row["value"] for row in rows}
    assert values["tsp6-near_optimal"] <= values["tsp6-sample4"] + 1e-4
    assert values["tsp6-near_optimal"] <= values["tsp6-or_tools"] + 1e-4
    assert values["tsp6-or_tools"] <= values["tsp6-christofides"] + 1e-6
    assert values["cities6-near_optimal"] <= values["cities6-active"] + 1.0
    assert 1000 < values["cities6-near_optimal"] < 20_000  # km, through six capitals
    loaded = decoding.load(str(tmp_path))  # with its settings
    jax.tree.map(np.testing.assert_array_equal, loaded.params, state.params)
    for picture in ("tours.png", "cities.png"):
        assert (tmp_path / picture).stat().st_size > 10_000
    told = capsys.readouterr().out.splitlines()
    assert "finish: near_optimal, 3 instances" in told
    assert "finish: Active Search of 6 cities, 128 tours" in told
    # A run that is extended asks its network again, and no solver.
    monkeypatch.setattr(solver_pool, "solve_many", None)
    config = configs.load("nco/tsp:20,smoke", [("cities", "6"), *small[:-1]])
    again = nco_tsp.build(config).finish(state, tmp_path)
    kept = {row["name"]: row["value"] for row in again}
    for solver in nco_tsp.SOLVERS:
        assert kept[f"tsp6-{solver}"] == values[f"tsp6-{solver}"]
    told = capsys.readouterr().out.splitlines()
    assert told == ["finish: greedy decoding of 3 instances", "finish: sample4, 3 instances"]
    path = tmp_path / "solved" / "or_tools.npz"
    solve = lambda instances, done: np.zeros((3, 6), np.int32)  # noqa: E731
    assert not training.kept(path, np.ones((3, 6, 2)), solve).any()  # of other instances
    path.write_bytes(path.read_bytes()[:100])  # damaged
    assert not training.kept(path, np.ones((3, 6, 2)), solve).any()


def policy_of_scores():
    """Visits cities in the order of a noisy linear score: its programs are compiled quickly."""

    def sample(params, key, inputs, *, num_samples=1, temperature=1.0, greedy=False):
        score = jnp.einsum("bnf,f->bn", inputs, params["direction"])
        noise = jax.random.normal(key, (num_samples, *score.shape))
        drawn = jax.lax.stop_gradient(score[None] + (0.0 if greedy else temperature) * noise)
        log_prob = -0.5 * jnp.sum((drawn - score[None]) ** 2, axis=-1)
        actions = jnp.argsort(drawn, axis=-1).astype(jnp.int32)
        return Sample(actions, log_prob, jnp.zeros_like(log_prob))

    return Policy(sample, lambda *_: None)


@pytest.mark.parametrize("baseline", training.BASELINES)
def test_learners_keep_the_contract(baseline):
    policy = policy_of_scores()
    rollout = functools.partial(greedy_rollout, policy, tsp.problem.reward, period=3)
    made = {
        "critic": lambda: policy_gradient.critic(
            lambda key: {"slope": jax.random.normal(key, (2,))},
            lambda params, inputs: jnp.einsum("bnf,f->b", inputs, params["slope"]),
            actor_critic.adam_optimizer(),
        ),
        "moving_average": moving_average,
        "multi_sample": multi_sample,
        "standardized": functools.partial(multi_sample, standardize=True),
        "greedy_rollout": rollout,
    }
    learner = actor_critic.actor_critic(
        policy,
        made[baseline](),
        actor_critic.adam_optimizer(),
        init_params=lambda key: {"direction": jax.random.normal(key, (2,))},
        reward=tsp.problem.reward,
        example_inputs=jax.ShapeDtypeStruct((8, 6, 2), jnp.float32),
        num_samples=2,
    )
    check_learner(learner, np.random.default_rng(0).uniform(size=(8, 6, 2)).astype(np.float32))


def test_the_pointer_networks_learner_keeps_the_contract():
    learner = make(multi_sample(standardize=True), num_samples=2)
    check_learner(learner, np.random.default_rng(0).uniform(size=(8, 6, 2)).astype(np.float32))


def test_the_number_that_the_config_promises_is_the_recorded_one():
    text = configs.load_module("nco/tsp").__doc__
    promised = re.search(r"greedy\s+tour length ([\d.]+)", text).group(1)
    rows = results_table.read_table(results_table.table_path("nco/demo")).rows
    found = [r["value"] for r in rows if r["name"] == "tsp20-greedy"]
    assert f"{found[0]:.2f}" == promised


@pytest.mark.parametrize("size", ["20", "50", "100"])
def test_what_the_config_promises_of_shipped_models_is_theirs(size):
    text = " ".join(configs.load_module("nco/tsp").__doc__.split())
    time, number = text.split("Expected number")
    meta = pretrained.load(f"nco/tsp{size}").meta
    steps, minutes = re.search(rf"\b{size},cpu: ([\d,]+)(?: updates)?, (\d+) min", time).groups()
    assert int(steps.replace(",", "")) == meta["step"]
    assert int(minutes) == round(meta["seconds"] / 60)
    length = re.search(rf"\b{size},cpu: ([\d.]+)", number).group(1)
    assert length == f"{meta['results'][f'tsp{size}-greedy tour_length']:.2f}"
