"""What ModGrad's modulation lets through of an inner gradient, and of noise on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import gradient_learners
from kfsl.analysis.gradient_learners.modgrad_figure import modulation_figure
from kfsl.analysis.gradient_learners.noise import standard_deviations
from kfsl.analysis.gradient_learners.spectra import (
    RADII,
    cosine,
    decibels,
    effective_rank,
    energy_above,
    spectrum,
)
from kfsl.analysis.request import CLASSES, NUMBERS, AnalysisRequest
from kfsl.episodes import SUPPORT_MASK
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.gradient_learner import GradientLearner
    from kfsl.learners.modgrad import ModGrad

#: Standard deviations of the noise, after the clean gradient.
LEVELS = (0.01, 0.1)
#: Episodes, unless their number is given.
EPISODES = 20


def check_modulated(learners: Mapping[str, GradientLearner]) -> None:
    """Refuses runs of other learners than ModGrad.

    Raises:
        ValueError: naming the run.
    """
    from kfsl.learners.modgrad import ModGrad

    for path, learner in learners.items():
        if not isinstance(learner, ModGrad):
            raise ValueError(
                f"{path!r} has a {type(learner).__name__}, which does not modulate gradients: "
                "this analysis is for ModGrad."
            )


def modulated_gradients(
    learner: ModGrad,
    episode: Mapping[str, Any],
    seed: Any,
    deviation: float = 0.0,
) -> dict[str, dict[str, np.ndarray]]:
    """The first inner step's gradients and factors, as the matrices that the cells see.

    Args:
        learner: `ModGrad`.
        episode: dict of tensors with `B = 1`.
        seed: int64 tensor, `[2]`: stream and number of the episode.
        deviation: float. Standard deviation of noise on the gradients; factors come from the
            noisy ones, as in the learner.

    Returns:
        dict from the state's keys of kernels (biases have no matrix) to `gradient`, `factors`
        and `modulated`, their product, and `outer`, the factors before ReLU; each `[n1, n2]`.
    """
    import tensorflow as tf

    from kfsl.gradients import InnerLoss

    mask = episode.get(SUPPORT_MASK)
    mask = None if mask is None else mask[0]
    labels = episode[learner.objective.support_targets][0]
    known = learner.objective.support_state(labels, mask)
    images = learner.inputs_of(learner.embed(episode[learner.objective.support_inputs]))[0]
    function = learner.support_loss(images, labels, mask, known, seed, False)
    loss = InnerLoss(function, 0, True, learner.gradient_clip, deviation, seed)
    task = {"inputs": images, "targets": labels, "mask": mask}
    weights = list(learner.adapted_network.start(task, seed).values())
    _, gradients = loss.value_and_grad(weights)
    rule = learner.update_rule()
    context, _ = rule.refined(loss, weights, gradients, tf.zeros((learner.context_size,)))
    found = {}
    for key, gradient in zip(learner.adapted_network.keys, gradients, strict=True):
        cell = learner.generator.get_layer(f"modulation_of_{key}")
        if len(cell.sizes) < 2:
            continue
        p, q = (cell.mixed_column(context[None], sister)[0].numpy() for sister in (0, 1))
        factors = cell(context[None])[0]
        found[key] = {
            "gradient": as_matrix(gradient.numpy(), cell.sizes),
            "factors": as_matrix(factors.numpy(), cell.sizes),
            "modulated": as_matrix((factors * gradient).numpy(), cell.sizes),
            "outer": np.outer(p, q),
        }
    return found


def as_matrix(kernel: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """A kernel `[*window, in, out]` as `[n1, n2]`, read row by row as `[out, in, *window]`.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.gradient_learners.modgrad_spectrum import as_matrix

    kernel = np.arange(3 * 3 * 2 * 4).reshape(3, 3, 2, 4)
    matrix = as_matrix(kernel, (12, 6))
    assert matrix[0].tolist() == [kernel[i, j, 0, 0] for i in range(2) for j in range(3)]
    ```
    """
    window = range(kernel.ndim - 2)
    return np.transpose(kernel, (kernel.ndim - 1, kernel.ndim - 2, *window)).reshape(sizes)


def modulation_values(
    experiment: Experiment,
    learner: ModGrad,
    deviations: Sequence[float],
    *,
    split: str,
    episodes: int,
    seed: int,
) -> dict[str, Any]:
    """Spectra of gradients before and after modulation, means over episodes.

    Args:
        experiment: `Experiment`, whose episodes count.
        learner: `ModGrad`.
        deviations: sequence of float. Standard deviations of noise; the first must be 0, the
            clean gradient that the others are compared with.
        split: str.
        episodes: int.
        seed: int. Seed of the stream of episodes.

    Returns:
        dict from kernels to `matrix` (`[n1, n2]`), `largest_ranks` (`before_relu`,
        `after_relu`), `factors` (`spectrum`, `zeros`: the share of zeros) and, for each
        deviation, `gradient` and `modulated`; each has

        - `spectrum`: energies of the singular values, as shares of all;
        - `effective_rank`: see `spectra.effective_rank`;
        - `energy_above`: the DFT's energy above each of `spectra.RADII`;
        - `cosine` with the clean one, and `snr`, decibels (None without noise).
    """
    import tensorflow as tf

    from data_pipelines import pipeline

    stream = pipeline.episodes(
        experiment.dataset, split, experiment.evaluation_sampler, seed=seed, count=episodes
    )
    measured: list[dict[str, Any]] = []
    for number, (episode, _) in enumerate(stream):
        of_episode = tf.constant([seed, number], tf.int64)
        by_level = [modulated_gradients(learner, episode, of_episode, d) for d in deviations]
        measured.append({key: _measured([level[key] for level in by_level]) for key in by_level[0]})
    shapes = {key: list(found["gradient"].shape) for key, found in by_level[0].items()}
    return {
        key: {
            "matrix": shape,
            "largest_ranks": {
                name: max(one[key]["ranks"][name] for one in measured)
                for name in ("before_relu", "after_relu")
            },
            "factors": _mean([one[key]["factors"] for one in measured]),
            "levels": [
                {
                    "standard_deviation": deviation,
                    **_mean([one[key]["levels"][i] for one in measured]),
                }
                for i, deviation in enumerate(deviations)
            ],
        }
        for key, shape in shapes.items()
    }


def _measured(levels: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """What is said of one kernel in one episode."""
    clean = levels[0]
    ranks = {
        "before_relu": max(int(np.linalg.matrix_rank(level["outer"])) for level in levels),
        "after_relu": max(int(np.linalg.matrix_rank(level["factors"])) for level in levels),
    }
    factors = {
        "spectrum": spectrum(clean["factors"]),
        "zeros": float(np.mean(clean["factors"] == 0)),
    }
    return {
        "ranks": ranks,
        "factors": factors,
        "levels": [
            {name: _of(level[name], clean[name]) for name in ("gradient", "modulated")}
            for level in levels
        ],
    }


def _of(matrix: np.ndarray, clean: np.ndarray) -> dict[str, Any]:
    return {
        "spectrum": spectrum(matrix),
        "effective_rank": effective_rank(matrix),
        "energy_above": energy_above(matrix),
        "cosine": cosine(matrix, clean),
        "snr": decibels(clean, matrix - clean),
    }


def _mean(trees: Sequence[Any]) -> Any:
    """The mean of numbers, lists of them, or dicts of either; None where one has none."""
    if isinstance(trees[0], dict):
        return {key: _mean([tree[key] for tree in trees]) for key in trees[0]}
    if any(tree is None for tree in trees):
        return None
    return np.mean(trees, axis=0).tolist()


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    levels: tuple[float, ...] = LEVELS,
    noise_scale: str = "std",
    episodes: int = EPISODES,
) -> Analysis:
    """What ModGrad's modulation lets through of the gradient, and of noise on it.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs.
        split: str. Which classes.
        levels: tuple of float. Levels of the noise.
        noise_scale: str. What they are: `"std"` or `"variance"`.
        episodes: int. How many.

    Returns:
        `Analysis`.
    """
    noise = [level for level in levels if level != 0]
    deviations = [0.0, *standard_deviations(noise, noise_scale)]
    experiment, learners = gradient_learners(request, compare, split, CLASSES, NUMBERS)
    check_modulated(learners)
    arguments = {"split": split, "episodes": episodes, "seed": EVALUATION_SEED}
    runs = {
        path: modulation_values(experiment, learner, deviations, **arguments)
        for path, learner in learners.items()
    }
    values = {**arguments, "radii": list(RADII), "runs": runs}
    return Analysis(f"modgrad_spectrum_{split}", modulation_figure(runs), values)
