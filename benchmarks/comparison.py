"""Which classifier to take when: `python benchmarks/comparison.py --runs=DIR`.

On the test classes of three datasets, the same episodes for all: pixels as they are with the
nearest class mean, a frozen network that was trained on ImageNet with each head, and learners that
kfsl trained on the dataset's own training classes. A run of a learner lies in
`DIR/<dataset>.<gin file>`; one that is missing is left out, and said. Datasets must be prepared.

Written for each: every episode's number of correct answers, the time from pixels to answers of one
episode as it is served, the weights' megabytes, what the training cost. Run it on an idle machine.
"""

import argparse
import dataclasses
import importlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.timing import seconds_of

importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.

DATASETS = {"mini_imagenet": None, "cifar_fs": None, "omniglot": "vinyals"}
TRAINED = {
    "prototypical_network": "ProtoNet, trained here",
    "dense_classification": "Dense classification, trained here",
}
PRETRAINED = "efficientnet_lite0"
WAYS, QUERIES, SHOTS = 5, 15, (1, 5)
#: Base images embedded at once.
IMAGES = 16
REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Contender:
    """A learner with its name, and what its training cost, if it was trained here.

    Args:
        name: str.
        served: `ServedLearner`.
        network: what embeds images; contenders that share it have the same features.
        training: dict. `minutes`, `updates`, `val`; empty where nothing was trained here.
    """

    name: str
    served: Any
    network: Any
    training: dict[str, Any] = dataclasses.field(default_factory=dict)


def contenders(dataset: Any, folder: Path) -> Iterator[Contender]:
    """The learners that are compared on a dataset."""
    yield pixels(dataset.image_shape)
    yield from frozen(dataset)
    for name, words in TRAINED.items():
        path = folder / f"{dataset.name}.{name}"
        if finished(path):
            yield trained(words, path)
        else:
            print(f"{dataset.name}: there is no run {name}; left out", flush=True)


def finished(path: Path) -> bool:
    """Whether a folder has a run whose training came to its end."""
    file = path / "metadata.json"
    return file.is_file() and "finished" in json.loads(file.read_text())


def pixels(image_shape: tuple[int, int, int]) -> Contender:
    """Nearest class mean of the pixels themselves."""
    import keras

    from kfsl.learners import PrototypicalNetwork
    from kfsl.prediction.served_learner import ServedLearner

    network = keras.Sequential([keras.Input(image_shape), keras.layers.Flatten()])
    served = ServedLearner.of(PrototypicalNetwork(network), image_shape)
    return Contender("pixels, nearest class mean", served, network)


def frozen(dataset: Any) -> Iterator[Contender]:
    """One network that was trained elsewhere, with each head."""
    from kfsl.backbones import pretrained
    from kfsl.classifier.models import HEADS
    from kfsl.prediction.served_learner import ServedLearner

    backbone = pretrained(PRETRAINED, image_shape=dataset.image_shape)
    words = "EfficientNet-Lite0 of ImageNet, frozen"
    # As FewShotClassifier has them: it knows no images but those of the support set.
    for name, head in HEADS.items():
        served = ServedLearner.of(head(backbone), dataset.image_shape)
        yield Contender(f"{words}: {name}", served, backbone)
    learner = HEADS["simple_shot"](backbone)
    images = some_images(dataset, "train", learner.base_images)
    learner.see_base_images(np.array_split(images, -(-len(images) // IMAGES)))
    served = ServedLearner.of(learner, dataset.image_shape)
    yield Contender(f"{words}: simple_shot, centred by training images", served, backbone)


def trained(words: str, path: Path) -> Contender:
    """The best learner of a run, and what it cost."""
    from kfsl.prediction.served_learner import ServedLearner

    export(path)
    metadata = json.loads((path / "metadata.json").read_text())
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    training = {
        "minutes": round(metadata["training_seconds"] / 60, 1),
        "updates": metadata["steps"],
        "validation": max(line["val_accuracy"] for line in lines),
    }
    served = ServedLearner.load(str(path / "saved_model"))
    return Contender(words, served, served, training)


def export(path: Path) -> None:
    """Exports a run, in a process of its own: a run says how many threads TensorFlow has."""
    subprocess.run([sys.executable, "-m", "kfsl.export", f"--run_dir={path}"], check=True)


def some_images(dataset: Any, split: str, count: int) -> np.ndarray:
    """Images of a split, spread over its classes."""
    rows = rows_of(dataset, split)
    return dataset.store.images[rows[:: -(-len(rows) // count)]]


def rows_of(dataset: Any, split: str) -> np.ndarray:
    """The rows of the store that a split has."""
    classes = dataset.split(split)
    spans = zip(classes.offsets, classes.counts, strict=True)
    return np.concatenate([np.arange(start, start + count) for start, count in spans])


def embedded(
    served: Any, dataset: Any, drawn: Iterable[dict[str, np.ndarray]]
) -> tuple[np.ndarray, dict[int, int]]:
    """Features of the images of episodes, and the place of each row of the store among them."""
    names = ("support_indices", "query_indices")
    rows = np.unique(np.concatenate([each[name] for each in drawn for name in names]))
    return served.embed(dataset.store.images[rows]), {int(row): i for i, row in enumerate(rows)}


def correct_answers(
    served: Any, features: np.ndarray, places: dict[int, int], drawn: list[dict[str, np.ndarray]]
) -> list[int]:
    """Of each episode, how many queries get their class."""
    found = []
    for episode in drawn:
        support, queries = (
            features[[places[row] for row in episode[name]]]
            for name in ("support_indices", "query_indices")
        )
        answers = served.answers(support, episode["support_labels"], queries)
        found.append(int((answers["logits"].argmax(-1) == episode["query_labels"]).sum()))
    return found


def episodes(dataset: Any, shots: int, count: int) -> list[dict[str, np.ndarray]]:
    """The test episodes that `kfsl.evaluate` has of this size."""
    import tensorflow as tf

    from data_pipelines.samplers import fixed_episode
    from kfsl.evaluation.evaluate import EVALUATION_SEED

    classes = dataset.split("test")
    draw = tf.function(
        lambda index: fixed_episode(
            classes, EVALUATION_SEED, index, ways=WAYS, shots=shots, queries=QUERIES
        )
    )
    drawn = (draw(tf.constant(number, tf.int64)) for number in range(count))
    return [{name: np.asarray(value) for name, value in each.items()} for each in drawn]


def seconds_to_answer(served: Any, shots: int) -> float:
    """From raw pixels of one episode to answers, as it is served; the median of some."""
    rng = np.random.default_rng(0)
    support, queries = (
        rng.integers(0, 256, (WAYS * each, *served.image_shape)).astype("uint8")
        for each in (shots, QUERIES)
    )
    labels = np.repeat(np.arange(WAYS), shots)

    def answer() -> None:
        served.answers(served.embed(support), labels, served.embed(queries))

    answer()
    return statistics.median(seconds_of(answer) for _ in range(REPEATS))


def megabytes(served: Any) -> float:
    """Of the weights."""
    owner = served.owner
    return sum(v.numpy().nbytes for v in getattr(owner, "weights", owner)) / 1e6


def compared(name: str, folder: Path, count: int) -> list[dict[str, Any]]:
    """The rows of a dataset."""
    from data_pipelines.load_dataset import load_dataset
    from kfsl.runs.measure import half_interval

    dataset = load_dataset(name, **({} if DATASETS[name] is None else {"split": DATASETS[name]}))
    drawn = {shots: episodes(dataset, shots, count) for shots in SHOTS}
    rows, network = [], None
    for contender in contenders(dataset, folder):
        served = contender.served
        # The heads share a network, whose features are computed once.
        if contender.network is not network:
            network = contender.network
            features, places = embedded(served, dataset, itertools.chain(*drawn.values()))
        for shots in SHOTS:
            correct = correct_answers(served, features, places, drawn[shots])
            rows.append({
                "dataset": name,
                "fingerprint": dataset.fingerprint,
                "learner": contender.name,
                "shots": shots,
                "accuracy": float(np.mean(correct)) / (WAYS * QUERIES),
                "interval": half_interval(np.array(correct) / (WAYS * QUERIES)),
                "seconds": seconds_to_answer(served, shots),
                "megabytes": megabytes(served),
                "training": contender.training,
                "correct": correct,
            })  # fmt: skip
            print(
                f"{name} {shots}-shot, {contender.name}: {rows[-1]['accuracy']:.2%} "
                f"± {rows[-1]['interval']:.2%}, {rows[-1]['seconds']:.3f} s",
                flush=True,
            )
    return rows


def on_few_lines(measured: dict[str, Any]) -> str:
    """JSON in which a list of numbers takes one line."""
    text = json.dumps(measured, indent=1)
    return re.sub(r"\[[\d\s,]+\]", lambda found: " ".join(found[0].split()), text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    rows = [
        row
        for name in arguments.datasets
        for row in compared(name, arguments.runs, arguments.episodes)
    ]
    if arguments.output:
        from kfsl.runs.environment import environment, now

        measured = {
            "made": now(),
            "environment": environment(),
            "ways": WAYS,
            "queries": QUERIES,
            "episodes": arguments.episodes,
            "rows": rows,
        }
        arguments.output.write_text(on_few_lines(measured) + "\n")


if __name__ == "__main__":
    main()
