"""How fast policies act: `python benchmarks/rollouts.py`.

- `navigation`: environment steps a second in 2D navigation, 20 tasks with 20 rollouts of 100 steps
  each, with the papers' policy (two layers of 100) of each task acting: drawing actions, moving,
  judging and handing the trajectories over.
- `cheetah`: the same in half-cheetah, and `alone` what Gymnasium's vector environment steps by
  itself, given actions that were drawn before, by turns with it.

Each case is measured in rounds, in a process of its own. A large matrix product is timed between
the repetitions. The file of `--json` says which processor it was.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.timing import measured_apart, seconds_of

importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.

CASES = ("navigation", "cheetah")


def rollouts_of(case: str, arguments: argparse.Namespace) -> tuple[Any, Any, Any]:
    """`Rollouts`, the state and the tasks of a case."""
    import keras
    import numpy as np

    from kfsl.backbones.mlp import MLP
    from kfsl.learners.maml import MAML
    from kfsl.reinforcement import HalfCheetah, Navigation, PolicyGradient
    from kfsl.reinforcement.rollouts import Rollouts

    keras.utils.set_random_seed(0)
    horizon = arguments.horizon or (100 if case == "navigation" else 200)
    environment = (Navigation if case == "navigation" else HalfCheetah)(horizon=horizon)
    backbone = MLP((environment.observation_size,), hidden=(100, 100))
    learner = MAML(backbone, objective=PolicyGradient(environment.action_size), steps=1)
    rollouts = Rollouts(learner, environment, arguments.rollouts)
    tasks = environment.draw_tasks(np.random.default_rng(0), arguments.tasks)
    return rollouts, rollouts.start(arguments.tasks), tasks


def alone(steps: int, count: int) -> float:
    """Seconds of steps of Gymnasium's vector environment by itself."""
    import numpy as np

    from kfsl.reinforcement.half_cheetah import vector_environment

    environments = vector_environment(count, "sync")
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, count, 6)).astype("float32")

    def run() -> None:
        environments.reset(seed=0)
        for action in actions:
            environments.step(action)

    return seconds_of(run)


def measure(case: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Steps a second of each repetition, and the matrix product's speed."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    rollouts, state, tasks = rollouts_of(case, arguments)
    count = arguments.tasks * arguments.rollouts
    steps = rollouts.environment.horizon
    matrix = tf.random.normal((arguments.matrix, arguments.matrix))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), autograph=False)
    rollouts.collect(state, tasks, (0, 0))
    seconds_of(lambda: product().numpy())
    found: dict[str, list[float]] = {"steps_per_second": [], "alone": [], "matmul": []}
    for number in range(arguments.repeats):
        found["matmul"].append(
            2 * arguments.matrix**3 / seconds_of(lambda: product().numpy()) / 1e9
        )
        taken = []
        spent = seconds_of(
            lambda number=number, taken=taken: taken.append(
                rollouts.collect(state, tasks, (0, number + 1)).steps
            )
        )
        found["steps_per_second"].append(taken[0] / spent)
        if case == "cheetah":
            found["alone"].append(count * steps / alone(steps, count))
    return found


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The figures over all rounds."""
    found: dict[str, Any] = {}
    for case, rounds in runs.items():
        found[case] = {
            name: statistics.median(value for run in rounds for value in run[name])
            for name in ("steps_per_second", "alone", "matmul")
            if rounds[0][name]
        }
        found[case]["rounds"] = rounds
        if "alone" in found[case]:
            found[case]["share"] = found[case]["steps_per_second"] / found[case]["alone"]
    return found


def line(case: str, found: dict[str, Any]) -> str:
    """One case's figures for people."""
    one = found[case]
    told = f"{case}: {one['steps_per_second']:,.0f} environment steps/s"
    if "share" in one:
        told += f", {100 * one['share']:.0f} % of Gymnasium's {one['alone']:,.0f} alone"
    return f"{told} (matrix product {one['matmul']:.0f} GFLOP/s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=CASES)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--rollouts", type=int, default=20, help="of each task")
    parser.add_argument("--horizon", type=int, help="steps of a rollout; the environment's own")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--rounds", type=int, default=2, help="turns of the cases")
    parser.add_argument("--repeats", type=int, default=5, help="timed rollouts of a turn")
    parser.add_argument("--matrix", type=int, default=2048, help="rows of the matrix product")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments)))
        return
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}", flush=True)
    runs: dict[str, list[dict[str, Any]]] = {case: [] for case in arguments.case}
    for _ in range(arguments.rounds):
        for case in runs:
            runs[case].append(measured_apart(case))
    found = summary(runs)
    print("\n".join(line(case, found) for case in runs))
    if arguments.json:
        from kfsl.runs.environment import environment

        kept = {"environment": environment(), **found}
        Path(arguments.json).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
