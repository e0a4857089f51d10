"""How well implants answer, in the support set and outside it, while they are learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import compared
from kfsl.analysis.request import AnalysisRequest
from kfsl.episodes import SUPPORT_LABELS, SUPPORT_MASK
from kfsl.figures.curves import COLORS, draw_curves, level_figure, run_names
from kfsl.runs.measure import half_interval
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.learner import Learner
    from kfsl.learners.implanting import Implanting

EPISODES = 50
#: Numbers of updates at which queries are asked too, at most.
MOST_ASKED = 11


class UpdatesOfImplants:
    """Learns implants update by update, as `Implanting.adapt` does in one go.

    Args:
        learner: `Implanting`.
    """

    def __init__(self, learner: Implanting) -> None:
        import tensorflow as tf

        self.learner = learner
        self._rule = learner.update_rule
        self._update = tf.function(self._one_update, reduce_retracing=True)
        self._measure = tf.function(self._measured, reduce_retracing=True)
        self._answer = tf.function(self._answered, reduce_retracing=True)

    def curves(
        self, episode: dict[str, Any], query_labels: Any, seed: Any, asked: list[int]
    ) -> tuple[list[float], list[float], list[float]]:
        """Of one episode, after 0, 1, ... updates.

        Args:
            episode: dict of tensors, with `B = 1`.
            query_labels: int tensor, `[1, Q]`.
            seed: int tensor, `[2]`. As `adapt` takes it.
            asked: list of int. Numbers of updates after which queries are asked.

        Returns:
            Accuracies of the leave-one-out subtasks and their losses, `[updates + 1]` each, and
            the queries' accuracies, as many as `asked`.
        """
        import tensorflow as tf

        from kfsl.learners.base.task_loop import task_seeds

        learner = self.learner
        support, queries = learner.embed_episode(episode, training=False)
        one_hot = learner.one_hot_support(
            episode[SUPPORT_LABELS][0], _first(episode.get(SUPPORT_MASK))
        )
        seen = learner.implanted.see(support[0])
        implants = list(
            learner.implanted.start(task_seeds(support, seed)[0], learner.gain).values()
        )
        state = self._rule.init(implants)
        accuracies, losses, answers = [], [], []
        for update in range(learner.updates + 1):
            accuracy, loss = self._measure(seen, one_hot, implants)
            accuracies.append(float(accuracy))
            losses.append(float(loss))
            if update in asked:
                answers.append(float(self._answer(seen, one_hot, implants, queries, query_labels)))
            if update < learner.updates:
                implants, state = self._update(tf.constant(update), implants, state, seen, one_hot)
        return accuracies, losses, answers

    def _one_update(self, step: Any, implants: Any, state: Any, seen: Any, one_hot: Any) -> Any:
        from kfsl.gradients import InnerLoss

        loss = self.learner.leave_one_out_loss(seen, one_hot)
        implants, state, _ = self._rule.step(InnerLoss(loss, step), implants, state)
        return implants, state

    def _measured(self, seen: Any, one_hot: Any, implants: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        from kfsl.learners.dense_classification import mean_prediction

        logits = mean_prediction(self.learner.leave_one_out_logits(seen, one_hot, implants)[None])
        present = tf.reduce_sum(one_hot, axis=1)
        hits = tf.cast(tf.argmax(logits[0], -1) == tf.argmax(one_hot, -1), "float32") * present
        loss = self.learner.leave_one_out_loss(seen, one_hot)(implants, 0)
        return tf.reduce_sum(hits) / tf.reduce_sum(present), loss

    def _answered(
        self, seen: Any, one_hot: Any, implants: Any, queries: Any, query_labels: Any
    ) -> Any:
        import tensorflow as tf

        state = self.learner.task_state(seen, one_hot, implants)
        batched = {name: tensor[None] for name, tensor in state.items()}
        logits = self.learner.infer(batched, queries)["logits"]
        hits = tf.argmax(logits, -1, query_labels.dtype) == query_labels
        return tf.reduce_mean(tf.cast(hits, "float32"))


def updates_values(
    experiment: Experiment,
    learners: Mapping[str, Implanting],
    *,
    split: str,
    episodes: int,
    seed: int,
) -> dict[str, Any]:
    """The numbers in the figure, as JSON can hold them.

    Args:
        experiment: `Experiment`, whose episodes all learners meet.
        learners: mapping from names to `Implanting`.
        split: str.
        episodes: int. Episodes `0..episodes - 1`, as an evaluation meets them.
        seed: int. Seed of the stream of episodes.

    Returns:
        dict. For each run `subtask_accuracy`, `subtask_interval` and `subtask_loss` after 0, 1,
        ... updates, and after `asked` updates `query_accuracy` and `query_interval`.
    """
    import tensorflow as tf
    import tqdm

    from data_pipelines import pipeline

    runs = {}
    for name, learner in learners.items():
        stream = pipeline.episodes(
            experiment.dataset, split, experiment.evaluation_sampler, seed=seed, count=episodes
        )
        updates = UpdatesOfImplants(learner)
        asked = sorted({round(n) for n in np.linspace(0, learner.updates, MOST_ASKED)})
        found = [
            updates.curves(episode, labels, tf.constant([seed, number], tf.int64), asked)
            for number, (episode, labels) in enumerate(
                tqdm.tqdm(stream, total=episodes, desc=f"implants, {split}", disable=None)
            )
        ]
        subtasks, losses, answers = (np.array(each) for each in zip(*found, strict=True))
        runs[name] = {
            "subtask_accuracy": subtasks.mean(0).tolist(),
            "subtask_interval": [half_interval(column) for column in subtasks.T],
            "subtask_loss": losses.mean(0).tolist(),
            "asked": asked,
            "query_accuracy": answers.mean(0).tolist(),
            "query_interval": [half_interval(column) for column in answers.T],
        }
    return {"split": split, "episodes": episodes, "seed": seed, "runs": runs}


def updates_figure(values: Mapping[str, Any]) -> Figure:
    """Draws accuracies of subtasks and of queries, and the loss, over the updates.

    Args:
        values: dict, from `updates_values`.

    Returns:
        `matplotlib.figure.Figure`.

    Example:
    ```python
    from kfsl.analysis.dense_classification.implant_updates import updates_figure

    run = {
        "subtask_accuracy": [0.5, 0.7, 0.8], "subtask_interval": [0.1, 0.1, 0.1],
        "subtask_loss": [1.2, 1.0, 0.9], "asked": [0, 2],
        "query_accuracy": [0.5, 0.6], "query_interval": [0.1, 0.1],
    }
    values = {"split": "test", "episodes": 50, "runs": {"implanting": run}}
    assert len(updates_figure(values).axes) == 2
    ```
    """
    runs = values["runs"]
    asked = sorted({update for run in runs.values() for update in run["asked"]})
    figure, (left, right) = level_figure(asked, "updates", panels=2)
    left.set_xscale("linear")
    for i, (name, run) in enumerate(runs.items()):
        subtasks = (run["subtask_accuracy"], run["subtask_interval"])
        every = range(len(subtasks[0]))
        draw_curves(left, every, [subtasks], [f"{name}, left-out support images"], marker="")
        queries = (run["query_accuracy"], run["query_interval"])
        draw_curves(left, run["asked"], [queries], [f"{name}, queries"])
        right.plot(every, run["subtask_loss"], color=COLORS[2 * i % len(COLORS)], linewidth=1.6)
    left.set_title(f"{values['split']}, {values['episodes']} episodes", fontsize=9)
    right.set_xlabel("updates")
    right.set_ylabel("loss of the subtasks")
    right.grid(alpha=0.3)
    right.spines[["top", "right"]].set_visible(False)
    return figure


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    episodes: int = EPISODES,
) -> Analysis:
    """Accuracy of the leave-one-out subtasks over the updates, and of queries beside it.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Which classes.
        episodes: int. How many.

    Returns:
        `Analysis`.

    Raises:
        ValueError: if a run learns no implants.
    """
    # First, since it holds back what TensorFlow prints while it is imported.
    experiment, learners = compared(request, compare, split)
    from kfsl.evaluation.evaluate import EVALUATION_SEED

    for path, learner in learners.items():
        _check_implanting(path, learner)
    named = dict(zip(run_names(list(learners)), learners.values(), strict=True))
    values = updates_values(experiment, named, split=split, episodes=episodes, seed=EVALUATION_SEED)
    return Analysis(f"implant_updates_{split}", updates_figure(values), values)


def _check_implanting(path: str, learner: Learner) -> None:
    from kfsl.learners.implanting import Implanting

    if not isinstance(learner, Implanting):
        raise ValueError(
            f"{path!r} has a {type(learner).__name__}, which learns no implants: this analysis is "
            "for Implanting."
        )


def _first(mask: Any) -> Any:
    return None if mask is None else mask[0]
