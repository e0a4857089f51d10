"""Accuracy by how support images and queries are pooled: tables 2 and 3 of the paper."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import compared, with_settings
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.curves import run_names
from kfsl.figures.text_table import markdown_table, text_table
from kfsl.runs.measure import half_interval
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.learner import Learner
    from kfsl.learners.dense_classification import DenseClassification

EPISODES = 600
META_BATCH = 4
#: As the paper calls them.
ABBREVIATIONS = {"average": "GAP", "max": "GMP", "dense": "DC", "flatten": "flat"}
QUERIES = ("average", "max", "dense")
#: Pooling of support images and of queries while implants are learnt.
STAGE2 = (("max", "max"), ("max", "dense"), ("average", "average"), ("average", "dense"))


class Cell(NamedTuple):
    """One cell of the grid.

    Args:
        support: str. How support images are pooled; of implants, while they are learnt.
        loss: str. How queries are pooled while implants are learnt; `""` without implants.
        queries: str. How queries are pooled in the test.
    """

    support: str
    loss: str
    queries: str


def cells_of(learner: DenseClassification) -> dict[Cell, dict[str, str]]:
    """The grid's cells, and the arguments of the learner that make each.

    Args:
        learner: `DenseClassification` or `Implanting`.

    Returns:
        dict from `Cell` to arguments. Cells that differ in the test's queries alone follow each
        other.

    Raises:
        ValueError: if it is another learner, or one of flattened maps.
    """
    from kfsl.learners.dense_classification import DenseClassification
    from kfsl.learners.implanting import Implanting

    if not isinstance(learner, DenseClassification):
        raise ValueError(
            f"A grid of poolings is for DenseClassification and Implanting; this run has a "
            f"{type(learner).__name__}."
        )
    if learner.reading == "flatten":
        raise ValueError("This run classifies flattened maps, which are not pooled.")
    if isinstance(learner, Implanting):
        return {
            Cell(support, loss, queries): {
                "loss_support_pooling": support,
                "loss_pooling": loss,
                # At the test the paper averages support images.
                "support_pooling": "average",
                "query_pooling": queries,
            }
            for support, loss in STAGE2
            for queries in QUERIES
        }
    return {
        Cell(support, "", queries): {"support_pooling": support, "query_pooling": queries}
        for support in ("max", "average")
        for queries in QUERIES
    }


def grid_accuracies(
    experiment: Experiment, learner: DenseClassification, *, split: str, episodes: int, seed: int
) -> dict[str, dict[Cell, list[float]]]:
    """Accuracies of all cells on the same episodes.

    Args:
        experiment: `Experiment`, whose episodes count.
        learner: `DenseClassification` or `Implanting`.
        split: str. Of the new classes.
        episodes: int.
        seed: int. Seed of the streams.

    Returns:
        dict from `"new"`, and where images of base classes are held out and the learner can tell
        them, `"base"` and `"both"`, to accuracies in 0..1, `[episodes]`, by cell.
    """
    from kfsl.evaluation import base_classes
    from kfsl.learners.implanting import Implanting

    experiment = dataclasses.replace(experiment, learner=learner)
    cells = cells_of(learner)
    arguments = {"seed": seed, "episodes": episodes}
    found = {"new": _accuracies(experiment, cells, split, **arguments)}
    if isinstance(learner, Implanting) or not experiment.dataset.held_out_images:
        return found
    alone = base_classes.asked_alone(experiment)
    found["base"] = _accuracies(alone, cells, base_classes.BASE_TEST, **arguments)
    queries = base_classes.queries(experiment, split)
    found["both"] = _accuracies(experiment, cells, split, base_queries=queries, **arguments)
    return found


def _accuracies(
    experiment: Experiment,
    cells: Mapping[Cell, dict[str, str]],
    split: str,
    *,
    episodes: int,
    seed: int,
    base_queries: int = 0,
) -> dict[Cell, list[float]]:
    import tensorflow as tf
    import tqdm

    from kfsl.evaluation.streams import EvaluationStreams

    classes = experiment.dataset.split(split)
    first = experiment.evaluation_sampler(classes, seed, tf.constant(0, tf.int64))
    streams = EvaluationStreams(
        experiment,
        split,
        seed=seed,
        episodes=episodes,
        images=sum(len(first[name]) for name in first if name.endswith("_indices")),
        meta_batch=META_BATCH,
        feature_memory=2**31,
        base_queries=base_queries,
    )
    predict = _compiled(
        experiment.learner, list(cells.values()), streams.embedded, base_queries > 0
    )
    hits: list[np.ndarray] = []
    with tqdm.tqdm(total=episodes, desc=f"{split}, pooled", unit="ep", disable=None) as bar:
        for episode, labels in streams.elements():
            number = sum(len(each[0]) for each in hits)
            predictions = predict(episode, tf.constant([seed, number], tf.int64)).numpy()
            hits.append(np.mean(predictions == labels.numpy(), axis=-1))
            bar.update(hits[-1].shape[1])
    rows = np.concatenate(hits, axis=1)[:, :episodes]
    return {cell: row.tolist() for cell, row in zip(cells, rows, strict=True)}


def _compiled(
    learner: DenseClassification, settings: Sequence[dict[str, str]], embedded: bool, joint: bool
) -> Callable:
    """A function from episodes to the predictions of all cells, `[cells, B, Q]`."""
    import tensorflow as tf

    from kfsl.episodes import QUERY_IMAGES, SEED, SUPPORT_IMAGES, SUPPORT_LABELS, SUPPORT_MASK

    learners = [with_settings(learner, **each) for each in settings]
    adaptation = [{k: v for k, v in each.items() if k != "query_pooling"} for each in settings]

    @tf.function(reduce_retracing=True)
    def predictions(episode: dict[str, Any], seed: Any) -> Any:
        query = episode[QUERY_IMAGES]
        query = query if embedded else learner.embed(query)
        if SUPPORT_LABELS not in episode:
            logits = [each.classify_base(query)["logits"] for each in learners]
            return tf.stack([tf.argmax(each, -1, tf.int32) for each in logits])
        support = episode[SUPPORT_IMAGES]
        support = support if embedded else learner.embed(support)
        labels, mask = episode[SUPPORT_LABELS], episode.get(SUPPORT_MASK)
        found, state, adapted = [], None, None
        for each, settings_of_adaptation in zip(learners, adaptation, strict=True):
            # Cells that differ in the queries' pooling alone share their adaptation.
            if settings_of_adaptation != adapted:
                state = each.adapt(support, labels, mask, seed=episode.get(SEED, seed))
                adapted = settings_of_adaptation
            answer = each.classify_jointly if joint else each.infer
            found.append(tf.argmax(answer(state, query)["logits"], -1, tf.int32))
        return tf.stack(found)

    return predictions


def grid_rows(values: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The numbers as rows of a table, a row for each kind of classes and each learning.

    Args:
        values: dict, what `analyze` writes.

    Returns:
        list of tuples of str; the first is the heading.
    """
    cells = next(iter(values["runs"].values()))["new"]
    rows = [("run", "classes", "support", "queries", "in the test", "accuracy")]
    if not cells[0]["loss"]:
        rows = [("run", "classes", "support", "queries", "accuracy")]
    for name, run in values["runs"].items():
        for kind in ("base", "new", "both"):
            for cell in run.get(kind, ()):
                poolings = [ABBREVIATIONS[cell["support"]]]
                poolings += [ABBREVIATIONS[cell["loss"]]] if cell["loss"] else []
                poolings.append(ABBREVIATIONS[cell["queries"]])
                number = f"{100 * cell['accuracy']:.2f} ± {100 * cell['interval']:.2f}"
                rows.append((name, kind, *poolings, number))
    return rows


def _described(accuracies: Mapping[Cell, list[float]]) -> list[dict[str, Any]]:
    return [
        {**cell._asdict(), "accuracy": float(np.mean(each)), "interval": half_interval(each)}
        for cell, each in accuracies.items()
    ]


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    episodes: int = EPISODES,
) -> Analysis:
    """Accuracy of every pooling of support images and queries, on the same episodes.

    For `DenseClassification` these are poolings in the test, for new classes and, where images
    of base classes were held out, for base classes and both together (table 2). For `Implanting`
    they are poolings while implants are learnt, and of the queries in the test (table 3).

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs of the same method.
        split: str. Which new classes.
        episodes: int. How many.

    Returns:
        `Analysis`.

    Raises:
        ValueError: if a run is of another method.
    """
    # First, since it holds back what TensorFlow prints while it is imported.
    experiment, learners = compared(request, compare, split, base_classes=True)
    from kfsl.evaluation.evaluate import EVALUATION_SEED

    _check_alike(learners)
    measure = functools.partial(
        grid_accuracies, experiment, split=split, episodes=episodes, seed=EVALUATION_SEED
    )
    runs = {}
    names = run_names(list(learners))
    for name, learner in zip(names, learners.values(), strict=True):
        runs[name] = {kind: _described(found) for kind, found in measure(learner).items()}
    values = {
        "split": split,
        "episodes": episodes,
        "seed": EVALUATION_SEED,
        "paths": dict(zip(names, learners, strict=True)),
        "runs": runs,
    }
    rows = grid_rows(values)
    return Analysis(
        f"pooling_grid_{split}", None, values, text_table(rows), markdown=markdown_table(rows)
    )


def _check_alike(learners: Mapping[str, Learner]) -> None:
    for learner in learners.values():
        cells_of(learner)
    kinds = {type(learner).__name__ for learner in learners.values()}
    if len(kinds) > 1:
        raise ValueError(
            f"The runs are of {' and '.join(sorted(kinds))}, whose grids differ: compare runs of "
            "one method."
        )
