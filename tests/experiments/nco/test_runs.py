"""The pointer network through the runner: killed, on many devices, over seeds, from any config."""

import json
import os
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.nco import tsp as nco_tsp
from experiments.runner import config as configs
from experiments.runner.checkpoint import restore_state, to_host
from experiments.runner.checks import ConfigError
from experiments.runner.loop import train
from experiments.runner.metrics import read
from tests.experiments.runner.test_devices import assert_close, devices, together
from tests.experiments.runner.test_resume import assert_same_end, records

SMALL = {
    "cities": 5,
    "batch_size": 8,
    "model.hidden": 8,
    "model.embed": 8,
    # Adam makes steps of one size from gradients of any: rounding must not decide their sign.
    "model.scale": 0.0,
    "eval.instances": 16,
}
UPDATES = {"steps": 5, "eval_every": 5, "checkpoint_every": 5}


def command(workdir: Path, **overrides) -> list[str]:
    """The arguments of a small run, `key__of=value` for an override."""
    words = ["--config=nco/tsp:20,smoke", f"--workdir={workdir}", "--quiet"]
    return words + [f"--config.{key}={value}" for key, value in (SMALL | overrides).items()]


def small(**overrides):
    pairs = [(key, str(value)) for key, value in (SMALL | overrides).items()]
    return configs.load("nco/tsp:20,smoke", pairs)


def last_state(workdir: Path):
    experiment = nco_tsp.build(small())
    state, _ = restore_state(workdir, jax.eval_shape(experiment.init, jax.random.key(0)))
    return to_host(state)


@pytest.fixture(scope="module")
def whole(launcher, tmp_path_factory) -> Path:
    """Five updates of actor and critic on one device."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert launcher.run(command(workdir, **UPDATES), workdir.parent / "log", devices(1)) == 0
    return workdir


@pytest.mark.slow  # the runner's tests prove it of the toy
def test_killed_while_it_trains_a_run_ends_the_same(launcher, tmp_path):
    long = {"steps": 200, "eval_every": 10, "checkpoint_every": 20}
    log, run = tmp_path / "log", tmp_path / "run"
    assert launcher.run(command(tmp_path / "whole", **long), log) == 0
    random = np.random.default_rng(0)
    for _ in range(2):
        before = records(run / "metrics.jsonl")
        pid = launcher.start(command(run, **long), log)
        while launcher.running(pid) and records(run / "metrics.jsonl") <= before + 4:
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.1))
        assert launcher.running(pid)
        os.kill(pid, signal.SIGKILL)
        launcher.wait(pid)
    assert launcher.run(command(run, **long), log) == 0
    assert_same_end(run, tmp_path / "whole", results=False)
    assert (run / "model.npz").read_bytes() == (tmp_path / "whole/model.npz").read_bytes()


@pytest.mark.parametrize(
    "count", [pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow), 8]
)
def test_devices_share_a_batch_and_give_the_same_update(launcher, tmp_path, whole, count):
    """All of the update is shared: devices add up gradients, and gather no part of a batch."""
    log = tmp_path / "log"
    flags = {
        "XLA_FLAGS": f"{devices(count)['XLA_FLAGS']} --xla_dump_to={tmp_path / 'hlo'} "
        "--xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*chunk_of_train.*"
    }
    words = command(tmp_path / "run", **UPDATES)
    assert launcher.run(words, log, flags) == 0, log.read_text()
    assert "not split" not in log.read_text()
    text = next((tmp_path / "hlo").glob("*after_optimizations.txt")).read_text()
    assert "all-reduce" in text
    assert "all-gather" not in text
    assert_close(last_state(tmp_path / "run"), last_state(whole))


@pytest.mark.slow  # the runner's tests prove it of the toy
def test_two_processes_give_the_same_update(launcher, tmp_path, whole):
    words = command(tmp_path / "run", **UPDATES)
    codes, logs = together(launcher, words, tmp_path, devices(2))
    assert codes == [0, 0], logs
    assert_close(last_state(tmp_path / "run"), last_state(whole))


@pytest.mark.slow  # the runner's tests prove it of the toy
def test_seeds_one_by_one_equal_solo_runs_exactly(tmp_path):
    options = {**UPDATES, "baseline": "multi_sample", "num_samples": 2}
    found = train(nco_tsp.build(small(**options)), small(**options, num_seeds=4), tmp_path / "map")
    for seed in range(4):
        config = small(**options, seed=seed)
        alone = train(nco_tsp.build(config), config, tmp_path / str(seed))
        mine, theirs = to_host(found.states[seed]), to_host(alone.states[0])
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert mine[name].tobytes() == theirs[name].tobytes(), name


FUZZ = {
    "seed": [0, 7, -1],
    "num_seeds": [1, 2, 0],
    "seed_axis": ["map", "vmap", "pmap"],
    "steps": [2, 4, 0, "many"],
    "cities": [1, 2, 6, 0, 2000],
    "batch_size": [1, 3, 8, 0],
    "num_samples": [1, 2, 3, 0],
    "baseline": [
        "critic",
        "moving_average",
        "multi_sample",
        "standardized",
        "greedy_rollout",
        "no",
    ],
    "baseline_decay": [0.0, 0.5, 1.0, 1.5],
    "rollout_period": [1, 2, 0],
    "entropy_weight": [0.0, 0.1, -1.0],
    "reward_bounds": ["-3.0,0.0", "0.0,-3.0", "1.0"],
    "model.hidden": [1, 8, 0, 2.5],
    "model.embed": [1, 8, 0],
    "model.scale": [0.0, 0.08, 5.0, -1.0, "wide"],
    "model.glimpses": [0, 1, 2, -1],
    "model.clip": [0.0, 10.0, -10.0],
    "model.forget_bias": [0.0, 1.0, "inf"],
    "model.center": [0.0, 0.5, "nan"],
    "model.spread": [1.0, 0.3, 0.0],
    "optimizer.name": ["adam", "muon", "sgd"],
    "optimizer.learning_rate": [1e-3, 1.0, 0.0, "nan"],
    "optimizer.decay_rate": [0.96, 1.0, 0.0],
    "optimizer.decay_steps": [1, 5000, 0],
    "optimizer.decay_begin": [0, 1, -1],
    "optimizer.max_grad_norm": [1.0, 1e-3, 0.0],
    "finish.samples": [1, 130, 0],
    "finish.temperature": [0.5, 2.0, 0.0],
    "eval.instances": [1, 16, 0],
}


def fuzz(count: int, seed: int, workdir: Path) -> dict[str, int]:
    """Trains random configs: each ends finite, or fails within a second naming a field it sets."""
    random, ended = np.random.default_rng(seed), {"trained": 0, "refused": 0}
    base = {"steps": 2, "chunk": 1, "eval_every": 2, "checkpoint_every": 2}
    for index in range(count):
        keys = random.choice(list(FUZZ), size=random.integers(1, 5), replace=False)
        chosen = {str(key): FUZZ[key][random.integers(len(FUZZ[key]))] for key in keys}
        start, error = time.monotonic(), None
        try:
            config = small(**(base | chosen))
            experiment = nco_tsp.build(config)
        except ConfigError as caught:
            error = caught
        if error is not None:
            ended["refused"] += 1
            assert time.monotonic() - start < 1.0
            # The shared baseline is refused for the number of samples, which only it limits.
            assert error.key in {*chosen, "num_samples"}, (chosen, error)
            continue
        done = train(experiment, config, workdir / str(index))
        assert done.step == config.steps
        for line in read(workdir / str(index) / "metrics.jsonl"):
            numbers = [value for value in line.values() if isinstance(value, float)]
            assert np.isfinite(numbers).all(), json.dumps(line)
        for state in done.states:
            for name, leaf in to_host(state).items():
                assert np.isfinite(np.asarray(leaf, np.float64)).all(), name
        ended["trained"] += 1
    return ended


def test_a_few_fuzzed_configs_train_or_name_the_field(tmp_path):
    ended = fuzz(4, 1, tmp_path)
    assert min(ended.values()) >= 2, ended


@pytest.mark.slow
def test_200_fuzzed_configs_train_or_name_the_field(tmp_path):
    ended = fuzz(200, 1, tmp_path)
    assert min(ended.values()) >= 50, ended
