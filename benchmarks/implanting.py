"""What kfsl saves where implants are learnt: `python benchmarks/implanting.py`.

Beside `Implanting.adapt` runs the plain form: a Keras loop that sends the images through the whole
network, frozen and widened, at each update, with `keras.optimizers.AdamW` on the implants. Both
begin with the same implants and end with the same to rounding (Adam's corrections are float32),
which is checked first.

A task has 5 ways and 5 shots, ResNet-12, 50 updates; from uint8 images to the state. Each size is
measured in rounds, the forms by turns, each in a process of its own, so that peak memory is its
own; a large matrix product is timed between the repetitions. FLOP are counted in the graphs.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.graph_flop import graph_flop
from benchmarks.peak_memory import peak_memory
from benchmarks.timing import measured_apart, seconds_of

importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.

WAYS, SHOTS = 5, 5
#: Height and width of the images with which the forms are compared.
CHECKED_SIZE = 32
FORMS = ("kfsl", "plain")


def make_learner(size: int, arguments: argparse.Namespace, updates: int) -> Any:
    """`Implanting` on ResNet-12, with random weights."""
    import keras

    from kfsl.backbones.resnet12 import ResNet12
    from kfsl.learners.implanting import Implanting

    keras.utils.set_random_seed(0)
    filters = tuple(arguments.filters * 2**block for block in range(4))
    backbone = ResNet12((size, size, 3), filters=filters)
    return Implanting(backbone, base_classes=60, updates=updates, decay=1e-2)


def support_set(size: int) -> tuple[Any, Any]:
    """Images and labels of a task, with `B = 1`."""
    import tensorflow as tf

    from kfsl.episodes import EpisodeSpec

    episode, _ = EpisodeSpec(WAYS, SHOTS, 1, (size, size, 3)).random_episode()
    return tuple(tf.constant(episode[name]) for name in ("support_images", "support_labels"))


def kfsl_adaptation(learner: Any, images: Any, labels: Any) -> Callable[[], list[Any]]:
    """From images to implants, as kfsl does it."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def adaptation(images: Any, labels: Any) -> Any:
        return learner.adapt(learner.embed(images), labels)

    def implants() -> list[Any]:
        state = adaptation(images, labels)
        return [state[key][0].numpy() for key in learner.implanted.keys]

    return implants


def plain_adaptation(learner: Any, images: Any, labels: Any) -> Callable[[], list[Any]]:
    """The same with the whole network in each update."""
    import keras
    import tensorflow as tf

    network = learner.implanted
    variables = network.stream.trainable_variables
    start = list(network.start(tf.zeros([2], tf.int64), learner.gain).values())
    one_hot = learner.one_hot_support(labels[0])

    def loss() -> Any:
        features = network.trunk(learner.preprocessing(images[0]), training=False)
        seen = network.base(features, training=False)
        implants = [variable.value for variable in variables]
        return learner.leave_one_out_loss(seen, one_hot)(implants, 0)

    optimizer = keras.optimizers.AdamW(
        learner.rate, weight_decay=learner.decay, epsilon=learner.update_rule.epsilon
    )
    optimizer.build(variables)

    @tf.function(autograph=False)
    def update() -> None:
        with tf.GradientTape() as tape:
            value = loss()
        optimizer.apply(tape.gradient(value, [variable.value for variable in variables]))

    def implants() -> list[Any]:
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        for slot in optimizer.variables:
            if slot is not optimizer.learning_rate:
                slot.assign(tf.zeros_like(slot.value))
        for _ in range(learner.updates):
            update()
        return [variable.numpy() for variable in variables]

    return implants


ADAPTATIONS = {"kfsl": kfsl_adaptation, "plain": plain_adaptation}


def check(arguments: argparse.Namespace) -> float:
    """The largest difference of the forms' implants, as a share of the largest change of one.

    In double precision: Adam makes steps of one length of gradients that are rounding alone.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    learner = make_learner(CHECKED_SIZE, arguments, updates=arguments.updates)
    task = support_set(CHECKED_SIZE)
    ours, plain = (ADAPTATIONS[form](learner, *task)() for form in FORMS)
    start = learner.implanted.start(tf.zeros([2], tf.int64), learner.gain).values()
    changes = [np.max(np.abs(a - b)) for a, b in zip(ours, start, strict=True)]
    gaps = [np.max(np.abs(a - b)) for a, b in zip(ours, plain, strict=True)]
    return float(max(gaps) / max(changes))


def flop_of(form: str, learner: Any, images: Any, labels: Any) -> int:
    """FLOP of an adaptation."""
    import tensorflow as tf

    network, one_hot = learner.implanted, learner.one_hot_support(labels[0])
    start = list(network.start(tf.zeros([2], tf.int64), learner.gain).values())

    def see(images: Any) -> Any:
        features = network.trunk(learner.preprocessing(images[0]), training=False)
        return network.see(features)

    def update(seen: Any, implants: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(implants)
            value = learner.leave_one_out_loss(seen, one_hot)(implants, 0)
        return value, tape.gradient(value, implants)

    def traced(function: Callable, *inputs: Any) -> int:
        concrete = tf.function(function, autograph=False).get_concrete_function(*inputs)
        return graph_flop(concrete.graph)

    once = traced(see, images)
    each = traced(update, see(images), start)
    widened = traced(lambda seen: network.embed(seen, start), see(images))
    if form == "kfsl":
        return once + learner.updates * each + widened
    return learner.updates * (once + each)


def measure(size: int, form: str, updates: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each repetition, the matrix product's, and the peak of memory."""
    import tensorflow as tf

    learner = make_learner(size, arguments, updates)
    task = support_set(size)
    adaptation = ADAPTATIONS[form](learner, *task)
    before = peak_memory()
    first = seconds_of(adaptation)
    after = peak_memory()
    matrix = tf.random.normal((arguments.matrix, arguments.matrix))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), autograph=False)
    seconds_of(lambda: product().numpy())
    seconds, products = [], []
    for _ in range(arguments.repeats):
        products.append(seconds_of(lambda: product().numpy()))
        seconds.append(seconds_of(adaptation))
    return {
        "seconds": seconds,
        "first_call_seconds": first,
        "gflop": flop_of(form, learner, *task) / 1e9,
        "matmul_gflop_per_second": 2 * arguments.matrix**3 / statistics.median(products) / 1e9,
        "peak_megabytes": after / 2**20,
        "peak_megabytes_before": before / 2**20,
    }


def summary(
    size: int, runs: dict[str, list[dict[str, Any]]], long: dict[str, Any], difference: float
) -> dict[str, Any]:
    """The figures of a size over its rounds."""
    found: dict[str, Any] = {"size": size, "largest_difference": difference, "forms": {}}
    for form, rounds in runs.items():
        seconds = statistics.median(s for run in rounds for s in run["seconds"])
        rate = statistics.median(run["matmul_gflop_per_second"] for run in rounds)
        gflop = rounds[0]["gflop"]
        found["forms"][form] = {
            "seconds_median": seconds,
            "seconds": [run["seconds"] for run in rounds],
            "gflop": gflop,
            "gflop_per_second": gflop / seconds,
            "matmul_gflop_per_second": rate,
            "megabytes": max(
                run["peak_megabytes"] - run["peak_megabytes_before"] for run in rounds
            ),
        }
    kfsl, plain = (found["forms"][form]["seconds_median"] for form in FORMS)
    found["times_faster"] = plain / kfsl
    found["megabytes_with_four_times_the_updates"] = (
        long["peak_megabytes"] - long["peak_megabytes_before"]
    )
    return found


def line(found: dict[str, Any]) -> str:
    """One size's figures for people."""
    forms = "; ".join(
        f"{form} {one['seconds_median']:.3f} s, {one['gflop']:.0f} GFLOP at "
        f"{one['gflop_per_second']:.0f} a second (product "
        f"{one['matmul_gflop_per_second']:.0f}), {one['megabytes']:.0f} MB"
        for form, one in found["forms"].items()
    )
    return (
        f"{found['size']}x{found['size']}: {forms}; {found['times_faster']:.1f} times faster; with "
        f"four times the updates {found['megabytes_with_four_times_the_updates']:.0f} MB; "
        f"difference {found['largest_difference']:.0e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", nargs="*", type=int, default=[32, 84], help="of the images")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the forms")
    parser.add_argument("--repeats", type=int, default=3, help="timed adaptations of a turn")
    parser.add_argument("--updates", type=int, default=50, help="of an adaptation")
    parser.add_argument("--filters", type=int, default=64, help="of the first block")
    parser.add_argument("--matrix", type=int, default=2048, help="rows of the matrix product")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        size, form, updates = arguments.measure
        if form == "check":
            print(json.dumps(check(arguments)))
        else:
            print(json.dumps(measure(int(size), form, int(updates), arguments)))
        return
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}", flush=True)

    def turn(size: int, form: str, updates: int) -> Any:
        return measured_apart(str(size), form, str(updates))

    found = []
    difference = turn(CHECKED_SIZE, "check", arguments.updates)
    for size in arguments.size:
        runs: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
        for _ in range(arguments.rounds):
            for form in FORMS:
                runs[form].append(turn(size, form, arguments.updates))
        long = turn(size, "kfsl", 4 * arguments.updates)
        found.append(summary(size, runs, long, difference))
        print(line(found[-1]), flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
