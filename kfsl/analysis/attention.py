"""What STANet looks at, for one query of an episode."""

import numpy as np

from kfsl.analysis.answer import Analysis
from kfsl.analysis.numbered_episode import numbered_episode
from kfsl.analysis.request import AnalysisRequest
from kfsl.episodes import SUPPORT_CLASSES, SUPPORT_LABELS
from kfsl.figures.attention import attention_figure


def analyze(
    request: AnalysisRequest, *, split: str = "val", index: int = 0, query: int = 0
) -> Analysis:
    """Draws the attention over one query and its support set.

    Args:
        request: `AnalysisRequest`.
        split: str. Which classes.
        index: int. Number of the episode, from 0.
        query: int. Which of its queries, from 0.

    Returns:
        `Analysis`.
    """
    experiment = request.experiment()
    seed = request.run.metadata.get("seed")
    episode, query_labels, class_names = numbered_episode(experiment, split, index, seed)
    learner = experiment.learner
    outputs = learner(episode, training=False)
    figure = attention_figure(learner, episode, query_labels, class_names, query=query)
    labels, classes = (np.asarray(episode[name])[0] for name in (SUPPORT_LABELS, SUPPORT_CLASSES))
    name_of = {int(label): class_names[c] for label, c in zip(labels, classes, strict=True)}
    values = {
        "classes": [name_of[label] for label in sorted(name_of)],
        "true_class": name_of[int(np.asarray(query_labels)[0, query])],
        "logits": np.asarray(outputs["logits"])[0, query].tolist(),
        "support_labels": labels.tolist(),
        "task_attention": np.asarray(outputs["task_attention"])[0, :, query].tolist(),
    }
    return Analysis(f"attention_{split}_{index}_{query}", figure, values)
