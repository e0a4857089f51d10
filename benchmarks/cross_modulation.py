"""What kfsl saves a Cross-Modulation Network: `python benchmarks/cross_modulation.py`.

Beside the learner runs the plain form: every image is repeated for each of its pairs before the
first modulated convolution, and whole maps are modulated. Both have the same weights and give the
same logits, which is checked first.

Each case is measured in rounds, the forms by turns, each in a process of its own, so that
peak memory is its own. A case is a step of training (forward and backward) or a prediction. The
plain form sees all queries at once, kfsl chunks of them, and a third form is kfsl without chunks.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.peak_memory import peak_memory
from benchmarks.timing import measured_apart

importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.


class Case(NamedTuple):
    """An episode, and whether it is learnt from or predicted."""

    shots: int
    queries: int
    training: bool


WAYS = 5
#: Height and width of the images with which the forms are compared.
CHECKED_SIZE = 28
CASES = {
    "train_1shot": Case(1, 5, True),
    "predict_1shot": Case(1, 15, False),
    "predict_5shot": Case(5, 15, False),
}
#: kfsl; the same with all queries at once, as the plain form has them; and the plain form.
FORMS = ("kfsl", "all at once", "plain")


def plain_logits(learner: Any, episode: dict[str, Any], training: bool) -> Any:
    """The logits of one episode, pair by pair."""
    from tests.support.pair_reference import matching_logits, preprocessed, reference_features

    support, query = (
        preprocessed(learner, episode[key][0]) for key in ("support_images", "query_images")
    )
    pairs = reference_features(learner, support, query, training=training)
    return matching_logits(*pairs, episode["support_labels"][0], WAYS)


def make_forms(case: Case, size: int, filters: int) -> tuple[Any, Any, dict[str, Callable]]:
    """Episode, labels, and a function of them for each form: loss and gradients, or logits."""
    import keras
    import tensorflow as tf

    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.cross_modulation_network import CrossModulationNetwork

    keras.utils.set_random_seed(0)
    learner = CrossModulationNetwork(Conv4((size, size, 3), filters=filters), ways=WAYS)
    whole = CrossModulationNetwork(learner.backbone, ways=WAYS, pairs_at_once=10**6)
    # The same layers: whatever is seen or trained is one network's.
    whole.modulations = learner.modulations
    spec = EpisodeSpec(WAYS, case.shots, case.queries, (size, size, 3))
    episode, labels = tf.nest.map_structure(tf.constant, spec.random_episode())
    forward = {
        "kfsl": lambda: learner(episode, training=case.training)["logits"][0],
        "all at once": lambda: whole(episode, training=case.training)["logits"][0],
        "plain": lambda: plain_logits(learner, episode, case.training),
    }

    def gradients(logits: Callable[[], Any]) -> Any:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[0], logits())
            loss = tf.reduce_mean(losses)
        return [loss, *tape.gradient(loss, learner.trainable_weights)]

    def function(form: str) -> Callable:
        what = (lambda: gradients(forward[form])) if case.training else forward[form]
        return tf.function(what, autograph=False)

    return episode, labels, {form: function(form) for form in FORMS}


def check(case: Case, filters: int) -> float:
    """The largest difference between kfsl's outputs and the plain ones, as a share of the plain.

    On 28x28 images in double precision, for rounding moves maxima from one pixel to the next.
    Outputs are compared tensor by tensor; gradients that are zero but for rounding, as those of
    biases before a normalisation, count as 1e-4 of the largest.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    *_, forms = make_forms(case, CHECKED_SIZE, filters)
    found = {form: [o.numpy() for o in tf.nest.flatten(forms[form]())] for form in FORMS}
    sizes = [np.max(np.abs(output)) for output in found["plain"]]
    floor = 1e-4 * max(sizes)
    return max(
        float(np.max(np.abs(a - b)) / max(size, floor))
        for form in FORMS
        for a, b, size in zip(found[form], found["plain"], sizes, strict=True)
    )


def measure(case: Case, form: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each repetition, and the peak of memory."""
    import tensorflow as tf

    *_, forms = make_forms(case, arguments.size, arguments.filters)
    before = peak_memory()

    def run() -> None:
        for output in tf.nest.flatten(forms[form]()):
            output.numpy()

    run()
    seconds = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": seconds,
        "peak_megabytes": peak_memory() / 2**20,
        "peak_megabytes_before": before / 2**20,
    }


def summary(name: str, runs: dict[str, list[dict[str, Any]]], difference: float) -> dict[str, Any]:
    """The figures of a case over its rounds."""
    seconds = {form: [s for run in runs[form] for s in run["seconds"]] for form in FORMS}
    grown = {
        form: max(run["peak_megabytes"] - run["peak_megabytes_before"] for run in runs[form])
        for form in FORMS
    }
    median = {form: statistics.median(seconds[form]) for form in FORMS}
    return {
        "case": name,
        "largest_difference": difference,
        "seconds_median": median,
        "seconds": seconds,
        "times_faster": {form: median["plain"] / median[form] for form in FORMS},
        "megabytes": grown,
        "times_less_memory": {form: grown["plain"] / grown[form] for form in FORMS},
    }


def line(found: dict[str, Any]) -> str:
    """One case's figures for people."""
    forms = (
        f"{form} {found['seconds_median'][form]:.3f} s ({found['times_faster'][form]:.1f} times), "
        f"{found['megabytes'][form]:.0f} MB ({found['times_less_memory'][form]:.1f} times)"
        for form in FORMS
    )
    return f"{found['case']:14} {'; '.join(forms)}; difference {found['largest_difference']:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", nargs="*", choices=CASES, help="which; default: all")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--rounds", type=int, default=2, help="turns of the forms")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of a turn")
    parser.add_argument("--size", type=int, default=84, help="height and width of an image")
    parser.add_argument("--filters", type=int, default=64, help="filters of Conv-4")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, form = arguments.measure
        if form == "check":
            print(json.dumps(check(CASES[name], arguments.filters)))
        else:
            print(json.dumps(measure(CASES[name], form, arguments)))
        return
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}", flush=True)

    def turn(name: str, form: str) -> Any:
        return measured_apart(name, form)

    found = []
    for name in arguments.case or CASES:
        runs: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
        difference = turn(name, "check")
        for _ in range(arguments.rounds):
            for form in FORMS:
                runs[form].append(turn(name, form))
        found.append(summary(name, runs, difference))
        print(line(found[-1]), flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
