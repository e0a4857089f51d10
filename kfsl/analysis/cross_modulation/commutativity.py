"""How far the FiLM generators of cross-modulation are from treating both streams alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import with_settings
from kfsl.analysis.request import AnalysisRequest
from kfsl.episodes import QUERY_IMAGES, SUPPORT_IMAGES, SUPPORT_LABELS, SUPPORT_MASK
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.figures.cross_modulation_weights import block_scales, check_cross_modulated
from kfsl.figures.text_table import text_table
from kfsl.runs.measure import half_interval

if TYPE_CHECKING:
    from kfsl.experiment import Experiment
    from kfsl.learners.base.cross_modulation_learner import CrossModulationLearner
    from kfsl.learners.base.learner import Learner

EPISODES = 20
#: What is measured: the generator's outputs, or these times `gamma0` and `beta0`.
OUTPUTS = ("raw", "scaled")


def check_inductive(learner: Learner) -> None:
    """Refuses learners whose pairs cannot be looked at one by one.

    Raises:
        ValueError: unless it is a `CrossModulationLearner` with `bn_policy="running"`.
    """
    check_cross_modulated(learner)
    if learner.bn_policy != "running":
        raise ValueError(
            "This analysis needs a run with bn_policy='running'; this one has "
            f"{learner.bn_policy!r}, under which moving averages do not normalise."
        )


def generated(
    learner: CrossModulationLearner, episode: Mapping[str, Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the generators make of all pairs of an episode, in both orders.

    Args:
        learner: `CrossModulationLearner` with `bn_policy="running"`.
        episode: dict of tensors with `B = 1`.

    Returns:
        Name of the modulated layer -> `G(q, s)` and `G(s, q)`, float64 `[Q, S, 2 C]` each,
        factors and offsets joined; supports that are padding are left out.
    """
    labels, mask = episode[SUPPORT_LABELS], episode.get(SUPPORT_MASK)
    state = learner.adapt(learner.embed(episode[SUPPORT_IMAGES]), labels, mask)
    queries = learner.embed(episode[QUERY_IMAGES])
    # No query depends on another, and memory does not grow with their number.
    size = max(1, learner.pairs_at_once // labels.shape[1])
    parts = [
        learner.film_parameters(state, queries[:, start : start + size])
        for start in range(0, queries.shape[1], size)
    ]
    real = slice(None) if mask is None else np.asarray(mask)[0].astype(bool)

    def joined(block: str, order: int) -> np.ndarray:
        chunks = [np.concatenate(part[block][order], axis=-1)[0] for part in parts]
        return np.concatenate(chunks).astype("float64")[:, real]

    return {block: (joined(block, 0), joined(block, 1)) for block in parts[0]}


def relative_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The mean over pairs of `||a - b||`, divided by the mean of `||a||` and `||b||`.

    Args:
        first: float array, `[Q, S, D]`.
        second: float array, `[Q, S, D]`.

    Returns:
        float in 0..2; pairs of zeros count as equal.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.cross_modulation.commutativity import relative_difference

    vectors = np.ones((3, 2, 4))
    assert relative_difference(vectors, vectors) == 0.0
    assert relative_difference(vectors, -vectors) == 2.0
    ```
    """
    norms = (np.linalg.norm(first, axis=-1) + np.linalg.norm(second, axis=-1)) / 2
    differences = np.linalg.norm(first - second, axis=-1)
    return float(np.mean(np.where(norms > 0, differences / np.where(norms > 0, norms, 1.0), 0.0)))


def variances(values: np.ndarray) -> tuple[float, float]:
    """The variance over all pairs, and the part of it that is left with the first axis fixed.

    Args:
        values: float array, `[own, other, D]`.

    Returns:
        Variance with the own image fixed, a mean over own images, and variance over all pairs;
        both are sums over the last axis, and the first is at most the second.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.cross_modulation.commutativity import variances

    own, other = np.array([[-3.0], [3.0]]), np.array([[-1.0, 1.0]])
    assert variances((own + other)[..., None]) == (1.0, 10.0)
    ```
    """
    return float(values.var(axis=1).mean(axis=0).sum()), float(values.var(axis=(0, 1)).sum())


def commutativity_values(
    experiment: Experiment, *, split: str, episodes: int, seed: int
) -> dict[str, Any]:
    """How different the two orders are, and what varies with the other stream.

    Args:
        experiment: `Experiment` of a `CrossModulationLearner`.
        split: str.
        episodes: int.
        seed: int. Seed of the stream of episodes.

    Returns:
        dict: `blocks`, from modulated layers to `raw` and `scaled`, the generator's outputs alone
        and times `gamma0` and `beta0`. Each has

        - `difference`: `relative_difference` of `G(q, s)` and `G(s, q)`, mean over pairs and
          episodes, and `interval`, half of its 95 % interval over episodes;
        - `query_varies_with_support`: the share of the variance of `G(q, s)` over the pairs of an
          episode that is left when the query is fixed, over all episodes together (None without
          variance); `support_varies_with_query`: of `G(s, q)`, when the support image is fixed;

        and `equal_halves`, the difference in the first episode after the cross half of each
        generator's weights is replaced by the self half: 0, up to rounding.
    """
    learner = experiment.learner
    stream = _episodes(experiment, split, episodes, seed)
    measured = [_measured(learner, episode) for episode in stream]
    (first,) = _episodes(experiment, split, 1, seed)
    control = _measured(with_equal_halves(learner), first)
    blocks = {}
    for block in measured[0]:
        blocks[block] = {}
        for output in OUTPUTS:
            found = [one[block][output] for one in measured]
            blocks[block][output] = {
                "difference": float(np.mean([one["difference"] for one in found])),
                "interval": half_interval([one["difference"] for one in found]),
                **{
                    name: _share([one[name] for one in found])
                    for name in ("query_varies_with_support", "support_varies_with_query")
                },
                "equal_halves": control[block][output]["difference"],
            }
    return {"split": split, "episodes": episodes, "seed": seed, "blocks": blocks}


def with_equal_halves(learner: CrossModulationLearner) -> CrossModulationLearner:
    """A copy of a network whose generators treat both streams alike.

    Args:
        learner: `CrossModulationLearner`; it is not touched.

    Returns:
        A learner in which the weights for the other stream are those for the own.
    """
    copy = with_settings(learner)
    for modulation in copy.modulations:
        own, _ = modulation.generator.kernel_rows()
        modulation.generator.kernel.assign(np.concatenate([own, own]))
    return copy


def commutativity_table(values: Mapping[str, Any]) -> str:
    """The numbers of `commutativity_values` as lines of text."""
    heading = ("difference", "equal halves", "varies with s", "varies with q")
    rows = [("block", "outputs", *heading)]
    for block, outputs in values["blocks"].items():
        for output, found in outputs.items():
            shares = (found["query_varies_with_support"], found["support_varies_with_query"])
            rows.append(
                (
                    block,
                    output,
                    f"{found['difference']:.3f} ± {found['interval']:.3f}",
                    f"{found['equal_halves']:.1e}" if found["equal_halves"] else "0",
                    *("" if share is None else f"{100 * share:.1f} %" for share in shares),
                )
            )
    return text_table(rows)


def commutativity_figure(values: Mapping[str, Any]) -> Figure:
    """Draws both measures, block by block, of the outputs times `gamma0` and `beta0`.

    Args:
        values: dict, from `commutativity_values`.

    Returns:
        `matplotlib.figure.Figure`.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), section 3, speaks of a
        non-commutative modulation; the measures are our choice.
    """
    blocks = values["blocks"]
    figure = Figure(figsize=(4.0 + 2.4 * len(blocks), 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    places = np.arange(len(blocks))
    for offset, output, color in zip((-0.18, 0.18), OUTPUTS, ("#9aa0a6", "#0072b2"), strict=True):
        found = [block[output] for block in blocks.values()]
        heights, errors = ([one[key] for one in found] for key in ("difference", "interval"))
        label = {"raw": "G", "scaled": r"G times $\gamma_0$, $\beta_0$"}[output]
        left.bar(places + offset, heights, 0.34, yerr=errors, color=color, capsize=3, label=label)
    left.set_title("relative difference of G(q, s) and G(s, q); 0: equal halves", fontsize=8)
    shares = {
        "query_varies_with_support": ("G(q, s), query fixed", "#009e73"),
        "support_varies_with_query": ("G(s, q), support image fixed", "#cc79a7"),
    }
    for offset, (name, (label, color)) in zip((-0.18, 0.18), shares.items(), strict=True):
        heights = [block["scaled"][name] or 0.0 for block in blocks.values()]
        right.bar(places + offset, heights, 0.34, color=color, label=label)
    right.set_title("share of the variance that follows the other stream", fontsize=8)
    right.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    for axes in (left, right):
        axes.set_xticks(places, list(blocks), fontsize=8, parse_math=False)
        axes.tick_params(axis="y", labelsize=7)
        axes.set_ylim(0, 1.25 * axes.dataLim.y1 or 1.0)  # Room for the legend.
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    return figure


def _episodes(
    experiment: Experiment, split: str, count: int, seed: int
) -> Iterator[dict[str, Any]]:
    from data_pipelines import pipeline

    sampler = experiment.evaluation_sampler
    stream = pipeline.episodes(experiment.dataset, split, sampler, seed=seed, count=count)
    return (episode for episode, _ in stream)


def _measured(learner: CrossModulationLearner, episode: Mapping[str, Any]) -> dict[str, Any]:
    """For each block and output: the difference, and the variances."""
    scales = block_scales(learner)
    found = {}
    for block, (queries, supports) in generated(learner, episode).items():
        weights = np.concatenate([scales[block]["gamma0"], scales[block]["beta0"]])
        found[block] = {
            output: {
                "difference": relative_difference(queries * by, supports * by),
                "query_varies_with_support": variances(queries * by),
                "support_varies_with_query": variances((supports * by).swapaxes(0, 1)),
            }
            for output, by in zip(OUTPUTS, (1.0, weights), strict=True)
        }
    return found


def _share(pairs: list[tuple[float, float]]) -> float | None:
    """Of sums over episodes: the episodes' own variances differ, and small ones say little."""
    part, total = np.sum(pairs, axis=0)
    return float(part / total) if total else None


def analyze(request: AnalysisRequest, *, split: str = "test", episodes: int = EPISODES) -> Analysis:
    """How different `G(s, q)` and `G(q, s)` are, and how much varies with the other stream.

    Args:
        request: `AnalysisRequest`.
        split: str. Which classes.
        episodes: int. How many.

    Returns:
        `Analysis`.
    """
    experiment = request.experiment()
    check_inductive(experiment.learner)
    values = commutativity_values(experiment, split=split, episodes=episodes, seed=EVALUATION_SEED)
    return Analysis(
        f"cross_modulation_commutativity_{split}",
        commutativity_figure(values),
        values,
        commutativity_table(values),
    )
