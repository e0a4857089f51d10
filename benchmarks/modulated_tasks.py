"""What a network of its own for each task costs: `python benchmarks/modulated_tasks.py`.

A training step of `ModulatedPrototypicalNetwork` on a meta-batch of 5-way 1-shot tasks with 15
queries, on the multimodal papers' network (32, 64, 128 and 256 filters, strides of 2), from uint8
images to the updated weights, in these forms:

- `kml`: kernels modulated by factorised generators, as kfsl does it;
- `film`: the same with FiLM;
- `plain`: as `kml`, the tasks one after another in `tf.map_fn` under one tape;
- `prototypes`: the same step of `PrototypicalNetwork`, whose network no task changes.

Loss and gradients of `kml` and `plain` are compared first, in double precision. Each form is
measured in rounds, by turns, in a process of its own, so that peak memory is its own; a large
matrix product is timed between the repetitions.
"""

import argparse
import functools
import importlib
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.peak_memory import peak_memory
from benchmarks.timing import measured_apart, seconds_of

importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.

WAYS, SHOTS, QUERIES = 5, 1, 15
FORMS = ("kml", "film", "plain", "prototypes")
CHECKED_SIZE, CHECKED_TASKS = 28, 2


def make_learner(form: str, size: int, filters: int) -> Any:
    """The learner of a form, with random weights, compiled."""
    import keras

    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.base.episodic_model import EpisodicModel
    from kfsl.learners.modulated_prototypical_network import ModulatedPrototypicalNetwork
    from kfsl.learners.prototypical_network import PrototypicalNetwork

    keras.utils.set_random_seed(0)
    widths = tuple(filters * 2**block for block in range(4))
    backbone, encoder = (
        Conv4((size, size, 3), filters=widths, strides=2, num_pools=0) for _ in range(2)
    )
    if form == "prototypes":
        learner: Any = PrototypicalNetwork(backbone, ways=WAYS, bn_policy="batch")
    else:
        generator = "film" if form == "film" else "factorised"
        learner = ModulatedPrototypicalNetwork(backbone, encoder, ways=WAYS, generator=generator)
    if form == "plain":
        learner.loss_and_gradients = functools.partial(EpisodicModel.loss_and_gradients, learner)
    learner.compile(keras.optimizers.Adam(1e-3))
    learner.build_optimizers()
    return learner


def meta_batch(size: int, tasks: int) -> tuple[Any, Any]:
    """Episodes and query labels."""
    import tensorflow as tf

    from kfsl.episodes import EpisodeSpec

    spec = EpisodeSpec(WAYS, SHOTS, QUERIES, (size, size, 3))
    episode, labels = spec.random_episode(meta_batch=tasks)
    return {name: tf.constant(value) for name, value in episode.items()}, tf.constant(labels)


def check(arguments: argparse.Namespace) -> float:
    """The largest difference of the gradients of `kml` and `plain`, as a share of the largest."""
    import keras
    import numpy as np

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    data = meta_batch(CHECKED_SIZE, CHECKED_TASKS)
    found = [
        make_learner(form, CHECKED_SIZE, arguments.filters).loss_and_gradients(*data)[1:]
        for form in ("kml", "plain")
    ]
    (loss, ours), (plain_loss, plain) = found
    largest = max(float(np.max(np.abs(gradient))) for gradient in plain)
    gaps = [float(np.max(np.abs(a - b))) for a, b in zip(ours, plain, strict=True)]
    return max(max(gaps) / largest, abs(float(loss) - float(plain_loss)))


def measure(form: str, tasks: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each repetition, the matrix product's, and the peak of memory."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    learner = make_learner(form, arguments.size, arguments.filters)
    data = meta_batch(arguments.size, tasks)
    step = tf.function(learner.train_step, autograph=False)
    before = peak_memory()
    first = seconds_of(lambda: step(data))
    seconds_of(lambda: step(data))
    matrix = tf.random.normal((arguments.matrix, arguments.matrix))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), autograph=False)
    seconds_of(lambda: product().numpy())
    seconds, products = [], []
    for _ in range(arguments.repeats):
        products.append(seconds_of(lambda: product().numpy()))
        seconds.append(seconds_of(lambda: step(data)["loss"].numpy()))
    return {
        "seconds": seconds,
        "first_call_seconds": first,
        "matmul_gflop_per_second": 2 * arguments.matrix**3 / statistics.median(products) / 1e9,
        "megabytes": (peak_memory() - before) / 2**20,
    }


def summary(
    runs: dict[str, list[dict[str, Any]]], many: dict[str, dict[str, Any]], difference: float
) -> dict[str, Any]:
    """The figures over all rounds."""
    found: dict[str, Any] = {"largest_difference": difference, "forms": {}}
    for form, rounds in runs.items():
        found["forms"][form] = {
            "seconds_median": statistics.median(s for run in rounds for s in run["seconds"]),
            "seconds": [run["seconds"] for run in rounds],
            "first_call_seconds": [run["first_call_seconds"] for run in rounds],
            "matmul_gflop_per_second": statistics.median(
                run["matmul_gflop_per_second"] for run in rounds
            ),
            "megabytes": max(run["megabytes"] for run in rounds),
            "megabytes_with_four_times_the_tasks": many[form]["megabytes"],
        }
    one = found["forms"]["prototypes"]["seconds_median"]
    found["times_the_unmodulated"] = {
        form: each["seconds_median"] / one for form, each in found["forms"].items()
    }
    return found


def line(form: str, found: dict[str, Any]) -> str:
    """One form's figures for people."""
    one = found["forms"][form]
    return (
        f"{form}: {one['seconds_median']:.3f} s, {found['times_the_unmodulated'][form]:.2f} times "
        f"the unmodulated step; {one['megabytes']:.0f} MB, of four times the tasks "
        f"{one['megabytes_with_four_times_the_tasks']:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--form", nargs="*", choices=FORMS[:-1], default=FORMS[:-1], help="beside `prototypes`"
    )
    parser.add_argument("--size", type=int, default=84, help="of the images")
    parser.add_argument("--tasks", type=int, default=10, help="of a meta-batch")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the forms")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of a turn")
    parser.add_argument("--filters", type=int, default=32, help="of the first block")
    parser.add_argument("--matrix", type=int, default=2048, help="rows of the matrix product")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        form, tasks = arguments.measure
        is_check = form == "check"
        print(json.dumps(check(arguments) if is_check else measure(form, int(tasks), arguments)))
        return
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}", flush=True)

    def turn(form: str, tasks: int) -> Any:
        return measured_apart(form, str(tasks))

    difference = turn("check", CHECKED_TASKS)
    runs: dict[str, list[dict[str, Any]]] = {form: [] for form in (*arguments.form, "prototypes")}
    for _ in range(arguments.rounds):
        for form in runs:
            runs[form].append(turn(form, arguments.tasks))
    many = {form: turn(form, 4 * arguments.tasks) for form in runs}
    found = summary(runs, many, difference)
    print(f"difference of the gradients {difference:.0e}")
    print("\n".join(line(form, found) for form in runs))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
