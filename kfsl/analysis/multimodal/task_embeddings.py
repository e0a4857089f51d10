"""Where the tasks of a mixture lie in the space of their embeddings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.analysis.tensorboard import show_in_tensorboard
from kfsl.episodes import SUPPORT_CLASSES, SUPPORT_IMAGES, SUPPORT_MASK
from kfsl.figures.curves import COLORS
from kfsl.figures.projector import thumbnail, write_projector

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.learner import Learner

TASKS = 300
NO_MODE = "all"


def embedded_tasks(
    experiment: Experiment, split: str, episodes: int
) -> tuple[np.ndarray, dict[str, list[str]], list[np.ndarray]]:
    """Embeddings of the first tasks that evaluation meets.

    Args:
        experiment: `Experiment`, whose learner has a task encoder.
        split: str.
        episodes: int.

    Returns:
        Float array, `[episodes, size]`; a dict with each task's `mode`, `number` and `classes`;
        and a small picture of each, its first support images.
    """
    import tensorflow as tf

    from data_pipelines import pipeline
    from kfsl.evaluation.evaluate import EVALUATION_SEED
    from kfsl.networks.modulated_network import embedding_of

    learner = experiment.learner
    classes = experiment.dataset.split(split)
    stream = pipeline.episodes(
        experiment.dataset,
        split,
        experiment.evaluation_sampler,
        seed=EVALUATION_SEED,
        count=episodes,
    )

    @tf.function(reduce_retracing=True)
    def embed(images: Any, mask: Any) -> Any:
        task = {"inputs": learner.preprocessing(images), "mask": mask}
        return embedding_of(learner.task_encoder, task, learner.bn_policy)

    vectors, pictures = [], []
    known: dict[str, list[str]] = {"mode": [], "number": [], "classes": []}
    for number, (episode, _) in enumerate(stream):
        mask = episode.get(SUPPORT_MASK)
        images = episode[SUPPORT_IMAGES][0]
        vectors.append(embed(images, None if mask is None else mask[0]).numpy())
        ids = episode[SUPPORT_CLASSES].numpy()[0]
        first = np.unique(ids, return_index=True)[1]
        pictures.append(thumbnail(images.numpy()[np.sort(first)]))
        mode = int(episode["mode"][0]) if "mode" in episode else None
        known["mode"].append(NO_MODE if mode is None else classes.mode_names[mode])
        known["number"].append(str(number))
        known["classes"].append(", ".join(classes.class_names[i] for i in ids[np.sort(first)]))
    return np.array(vectors), known, pictures


def principal_axes(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Coordinates along the two directions in which vectors vary most.

    Args:
        vectors: float array, `[n, size]`.

    Returns:
        Float array, `[n, 2]`, and the share of the variance along each.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.multimodal.task_embeddings import principal_axes

    _, shares = principal_axes(np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]))
    assert np.allclose(shares, [1.0, 0.0])
    ```
    """
    centred = vectors - vectors.mean(0)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    total = max(float(np.sum(scales**2)), np.finfo("float64").tiny)
    points, shares = left[:, :2] * scales[:2], [float(scale**2 / total) for scale in scales[:2]]
    missing = 2 - len(shares)  # Vectors of one number vary along one axis.
    return np.pad(points, ((0, 0), (0, missing))), [*shares, *[0.0] * missing]


def nearest_alike(vectors: np.ndarray, modes: Sequence[str]) -> float:
    """The share of tasks whose nearest other task is of their own mode.

    Args:
        vectors: float array, `[n, size]`.
        modes: sequence of str.

    Returns:
        float.
    """
    squares = np.sum(np.square(vectors), axis=1)
    distances = squares[:, None] + squares[None] - 2.0 * vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    named = np.array(modes)
    return float(np.mean(named[np.argmin(distances, axis=1)] == named))


def scatter_figure(values: Mapping[str, Any]) -> Figure:
    """Draws tasks along the principal axes of their embeddings, coloured by mode.

    Args:
        values: dict, as `analyze` writes it.

    Returns:
        matplotlib `Figure`.
    """
    figure = Figure(figsize=(6.4, 5.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    points, modes = np.array(values["principal"]), np.array(values["modes"])
    for i, mode in enumerate(dict.fromkeys(values["modes"])):
        x, y = points[modes == mode].T
        axes.scatter(x, y, s=14, color=COLORS[i % len(COLORS)], label=mode, alpha=0.75)
    for axis, share, number in zip(
        "xy", values["variance_shares"], ("first", "second"), strict=True
    ):
        axes.set(**{f"{axis}label": f"{number} principal axis ({100 * share:.0f} % of variance)"})
    axes.set_title(f"{len(points)} tasks of {values['split']}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def analyze(request: AnalysisRequest, *, split: str = "test", episodes: int = TASKS) -> Analysis:
    """Task embeddings as a figure by mode, and for TensorBoard's projector with pictures.

    Args:
        request: `AnalysisRequest`.
        split: str.
        episodes: int. How many tasks.

    Returns:
        `Analysis`.

    Raises:
        ValueError: if the run's learner embeds no tasks.
    """
    experiment = request.experiment()
    _check_embeds(request.run.path, experiment.learner)
    vectors, known, pictures = embedded_tasks(experiment, split, episodes)
    points, shares = principal_axes(vectors)
    values = {
        "split": split, "episodes": episodes, "modes": known["mode"],
        "embeddings": vectors.tolist(), "principal": points.tolist(), "variance_shares": shares,
    }  # fmt: skip
    line = f"The projector shows them: tensorboard --logdir={request.run.tensorboard}"
    if len(set(known["mode"])) > 1:
        values["nearest_alike"] = nearest_alike(vectors, known["mode"])
        share = f"{100 * values['nearest_alike']:.1f} %"
        line = f"{share} of the tasks lie nearest to one of their own mode. {line}"
    figure = scatter_figure(values)
    name = f"task_embeddings_{split}"
    folder = os.path.join(request.run.tensorboard, name)

    def write() -> list[str]:
        shutil.rmtree(folder, ignore_errors=True)  # Those of an earlier call.
        files = write_projector(folder, name, vectors, known, pictures)
        show_in_tensorboard(folder, name, figure)
        return files

    return Analysis(name, figure, values, conclusion=line, write=write)


def _check_embeds(path: str, learner: Learner) -> None:
    if not hasattr(learner, "task_encoder"):
        raise ValueError(
            f"{path!r} has a {type(learner).__name__}, which embeds no tasks: this analysis is for "
            "ModulatedPrototypicalNetwork and MultimodalMAML."
        )
