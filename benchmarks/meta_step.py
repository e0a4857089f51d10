"""Seconds of a whole training step of each learner: `python benchmarks/meta_step.py`.

Times `train_step` in a `tf.function`: Conv-4, 28x28x1 noise, 5-way 1-shot, 15 queries a class, a
meta-batch of 4, or as the arguments say, and five inner steps where a method has steps of its own
choosing. After every step a large matrix product is timed, so that both meet the same machine; each
learner has a process of its own, so that first call and peak memory are its own.

FLOP are two for each multiplication of a convolution or matrix product, counted in the graph of
one task's loss and gradients and multiplied by the tasks; all else (normalisation, activations,
the optimiser) counts as nothing. For MAML the same can be written down. With F for the forward
pass of one image, S support images, Q queries and K steps, loss and gradient of an inner step take
3 F S, a gradient through both 6 F S, and the queries 3 F Q, so a task takes (9 K S + 3 Q) F,
first order (3 K S + 3 Q) F, less the images' own gradients, which nobody asks for.
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

from benchmarks.graph_flop import graph_flop
from benchmarks.peak_memory import peak_memory
from benchmarks.timing import measured_apart, seconds_of

importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.

#: Name -> module and class in kfsl.learners, and arguments.
LEARNERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "maml": ("maml", "MAML", {"steps": 5}),
    "maml_first_order": ("maml", "MAML", {"steps": 5, "first_order": True}),
    "meta_sgd": ("meta_sgd", "MetaSGD", {"steps": 5}),
    "cavia": ("cavia", "CAVIA", {"steps": 5}),
    "reptile": ("reptile", "Reptile", {"steps": 5}),
    "modgrad_1": ("modgrad", "ModGrad", {"steps": 1}),
    "modgrad_5": ("modgrad", "ModGrad", {"steps": 5}),
    "prototypical_network": ("prototypical_network", "PrototypicalNetwork", {}),
}
WAYS, SHOTS = 5, 1


def make_learner(name: str, arguments: argparse.Namespace) -> Any:
    """The learner of that name, compiled."""
    import keras

    from kfsl.backbones.conv4 import Conv4

    module, class_name, extra = LEARNERS[name]
    learner_class = getattr(importlib.import_module(f"kfsl.learners.{module}"), class_name)
    keras.utils.set_random_seed(0)
    # CAVIA modulates between pooling and ReLU.
    order = "bn-pool-activation" if name == "cavia" else "bn-activation-pool"
    image_shape = (arguments.size, arguments.size, 1)
    backbone = Conv4(image_shape, filters=arguments.filters, order=order)
    if arguments.parallel_tasks > 1:
        extra = {**extra, "parallel_tasks": arguments.parallel_tasks}
    learner = learner_class(backbone, ways=WAYS, **extra)
    learner.compile(keras.optimizers.Adam(1e-3))
    learner.build_optimizers()
    return learner


def flop_of_step(learner: Any, episode: dict[str, Any], labels: Any) -> int:
    """Convolutions and matrix products of a training step; see above."""
    import tensorflow as tf

    one = {key: value[:1] for key, value in episode.items()}
    tf.config.run_functions_eagerly(True)  # Writes Reptile's steps out, which are calls.
    try:
        traced = tf.function(learner.loss_and_gradients, autograph=False).get_concrete_function(
            one, labels[:1]
        )
    finally:
        tf.config.run_functions_eagerly(False)
    return len(labels) * graph_flop(traced.graph)


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one learner."""
    import tensorflow as tf

    from kfsl.episodes import EpisodeSpec
    from kfsl.training.process import set_up

    set_up(deterministic=arguments.deterministic, threads=arguments.threads)
    learner = make_learner(name, arguments)
    spec = EpisodeSpec(WAYS, SHOTS, arguments.queries, (arguments.size, arguments.size, 1))
    episode, labels = spec.random_episode(meta_batch=arguments.meta_batch)
    data = tf.nest.map_structure(tf.constant, (episode, labels))
    train_step = tf.function(learner.train_step, autograph=False)

    def step() -> None:
        train_step(data)["loss"].numpy()

    before = _peak_megabytes()
    first = seconds_of(step)
    step()
    after = _peak_megabytes()
    matrix = tf.random.normal((arguments.matrix, arguments.matrix))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), autograph=False)
    seconds_of(lambda: product().numpy())
    products, steps = [], []
    for _ in range(arguments.repeats):
        products.append(seconds_of(lambda: product().numpy()))
        steps.append(seconds_of(step))
    flop = flop_of_step(learner, *data)
    seconds, rate = statistics.median(steps), 2 * arguments.matrix**3 / statistics.median(products)
    return {
        "learner": name,
        "seconds_median": seconds,
        "seconds_min": min(steps),
        "seconds": steps,
        "first_call_seconds": first,
        "gflop": flop / 1e9,
        "gflop_per_second": flop / seconds / 1e9,
        "matmul_gflop_per_second": rate / 1e9,
        "share_of_matmul": flop / seconds / rate,
        "peak_megabytes": after,
        "peak_megabytes_before_first_call": before,
    }


def _peak_megabytes() -> float:
    return peak_memory() / 2**20


def line(found: dict[str, Any]) -> str:
    """One learner's figures for people."""
    return (
        f"{found['learner']:22}{found['seconds_median']:8.3f} s (min {found['seconds_min']:.3f})"
        f"{found['gflop']:8.2f} GFLOP{found['gflop_per_second']:7.1f} GFLOP/s, "
        f"{found['share_of_matmul']:4.0%} of the matmul rate "
        f"({found['matmul_gflop_per_second']:.0f}), first call {found['first_call_seconds']:.1f} "
        f"s, peak {found['peak_megabytes']:.0f} MB "
        f"({found['peak_megabytes_before_first_call']:.0f} before)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--learner", nargs="*", choices=LEARNERS, help="which; default: all")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--repeats", type=int, default=10, help="timed steps of each learner")
    parser.add_argument("--meta_batch", type=int, default=4, help="tasks of a step")
    parser.add_argument("--queries", type=int, default=15, help="of each class of a task")
    parser.add_argument("--filters", type=int, default=64, help="filters of Conv-4")
    parser.add_argument("--size", type=int, default=28, help="height and width of an image")
    parser.add_argument("--matrix", type=int, default=2048, help="rows of the matrix product")
    parser.add_argument(
        "--parallel_tasks", type=int, default=1, help="tasks at once, where a learner can"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads inside an op, the product too; 0: all"
    )
    parser.add_argument("--deterministic", action="store_true", help="with op determinism, as fit")
    parser.add_argument("--measure", choices=LEARNERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments)))
        return
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}", flush=True)
    found = []
    for name in arguments.learner or LEARNERS:
        found.append(measured_apart(name))
        print(line(found[-1]), flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
