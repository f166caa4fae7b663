"""The PyTorch peer: rl4co's pointer network on the travelling salesman problem.

    .venv-peers/bin/python experiments/peers/rl4co_tsp.py --threads 2

`experiments.bench` starts this script with the peer environment's Python and speaks with it in
lines of JSON: a first line tells what is running, and each request

    {"task": "train" | "greedy", "cities": 20, "batch": 128, "seconds": 1.0}

is answered with `{"runs", "items", "seconds"}`, timed over at least that many seconds. The first
request of a kind warms up before it is timed.

- Policy: `PointerNetworkPolicy(env_name="tsp", embed_dim=128, hidden_dim=128, tanh_clipping=10,
  mask_inner=True, mask_logits=True)`, which has one glimpse: the shapes and the options of
  `nco.pointer`. Its glimpse reads out the projected references instead of the references (Pham
  2021, ch. 2, eq. 2.12), and it projects them anew at every step.
- Training step: new instances, one sampled tour each, `ExponentialBaseline`, REINFORCE, clipping
  of the gradient's norm to 1, Adam at 1e-3. Greedy: tours and their lengths of fixed instances.
- Tuned: no check of the tours, fused Adam, `inference_mode` without gradients, subnormals flushed;
  `--compile` adds torch.compile on the decoding step (minutes of compilation).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, TextIO

POLICY = dict(  # noqa: C408
    env_name="tsp",
    embed_dim=128,
    hidden_dim=128,
    tanh_clipping=10.0,
    mask_inner=True,
    mask_logits=True,
)
WARM_UP = 2


def make_task(task: str, cities: int, batch: int, compiled: bool) -> Callable[[], Any]:
    """Returns a function that does one training step or decodes one batch."""
    import torch
    from rl4co.envs import TSPEnv
    from rl4co.models.rl.reinforce.baselines import ExponentialBaseline
    from rl4co.models.zoo.ptrnet.policy import PointerNetworkPolicy

    env = TSPEnv(generator_params={"num_loc": cities}, check_solution=False)
    policy = PointerNetworkPolicy(**POLICY)
    if compiled:
        policy.decoder.recurrence = torch.compile(policy.decoder.recurrence)

    if task == "greedy":
        instances = env.generator(batch)

        @torch.inference_mode()
        def greedy() -> Any:
            return policy(env.reset(instances), env, phase="test", decode_type="greedy")

        return greedy

    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3, fused=True)
    baseline = ExponentialBaseline(beta=0.99)

    def train() -> Any:
        td = env.reset(env.generator(batch))
        out = policy(td, env, phase="train", decode_type="sampling")
        value, _ = baseline.eval(td, out["reward"], env)
        loss = -((out["reward"] - value) * out["log_likelihood"]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return train


def timed(run: Callable[[], Any], seconds: float) -> tuple[int, float]:
    """Returns the number of runs that filled at least `seconds`, and the seconds they took."""
    runs, start = 0, time.perf_counter()
    while True:
        run()
        runs += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return runs, elapsed


def serve(requests: TextIO, answers: TextIO, compiled: bool) -> None:
    """Answers requests until there are no more."""
    tasks: dict[tuple, Callable[[], Any]] = {}
    for line in requests:
        request = json.loads(line)
        key = (request["task"], request["cities"], request["batch"])
        if key not in tasks:
            tasks[key] = make_task(*key, compiled)
            for _ in range(WARM_UP):
                tasks[key]()
        runs, elapsed = timed(tasks[key], request["seconds"])
        answer = {"runs": runs, "items": runs * request["batch"], "seconds": elapsed}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--compile", action="store_true")
    flags = parser.parse_args()
    warnings.filterwarnings("ignore")
    # Whatever the libraries print goes to stderr: stdout carries the answers only.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    from importlib.metadata import version

    import torch

    torch.set_num_threads(flags.threads)
    torch.set_flush_denormal(True)
    ready = {
        "name": f"rl4co {version('rl4co')}, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "compiled": flags.compile,
        "policy": POLICY,
    }
    print(json.dumps(ready), file=answers, flush=True)
    serve(sys.stdin, answers, flags.compile)


if __name__ == "__main__":
    main()
