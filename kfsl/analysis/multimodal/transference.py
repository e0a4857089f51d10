"""Which tasks help another task, and which hurt: histograms of transference."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import compared
from kfsl.analysis.multimodal.transference_name import transference_name
from kfsl.analysis.request import AnalysisRequest
from kfsl.figures.curves import COLORS, run_names
from kfsl.figures.text import printable
from kfsl.runs.learner_file import load_weights
from kfsl.runs.measure import half_interval
from kfsl.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from kfsl.analysis.multimodal.loss_ratios import Task
    from kfsl.experiment import Experiment

SOURCES = 300
#: The step of the analysis where nobody says another: the paper's rate of meta-training.
RATE = 1e-3
BEST = "best"
BINS = 40


def tasks(
    experiment: Experiment, split: str, mode: str | None, first: int, count: int, trained: bool
) -> Iterator[Task]:
    """Episodes of a split, of one mode of a mixture where one is named.

    Args:
        experiment: `Experiment`.
        split: str.
        mode: str or None. None: whatever the sampler draws.
        first: int. Number of the first episode.
        count: int.
        trained: bool. Whether they are drawn as in training, or as in evaluation.

    Yields:
        Episodes and query labels, `B = 1`.

    Raises:
        ValueError: if the mode does not exist, or the sampler knows no modes.
    """
    from data_pipelines import pipeline
    from kfsl.evaluation.evaluate import EVALUATION_SEED

    sampler = experiment.sampler if trained else experiment.evaluation_sampler
    if mode is not None:
        sampler = _of_mode(sampler, mode)
    for number in range(first, first + count):
        yield pipeline.episode_at(
            experiment.dataset,
            split,
            sampler,
            EVALUATION_SEED,
            number,
            label_level=experiment.label_level,
        )


def _of_mode(sampler: Callable, mode: str) -> Callable:
    if "modes" not in inspect.signature(sampler).parameters:
        raise ValueError(
            f"A mode, {mode!r}, is named, and the run's episodes are of no mixture: leave the mode "
            "out, or analyse a run whose sampler is mixture_episode."
        )
    # Weights of all modes would not be of this one.
    return functools.partial(sampler, modes=(mode,), weights=None)


def summary(ratios: np.ndarray) -> dict[str, Any]:
    """What a histogram of ratios says in numbers.

    Args:
        ratios: float array, `[sources, targets]`.

    Returns:
        dict: `ratios`; `share_below_one`, `mean` and their half intervals over the sources, a
        source's mean over the targets counting once; `median`.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.multimodal.transference import summary

    found = summary(np.array([[0.9], [0.8], [1.1], [0.95]]))
    assert found["share_below_one"] == 0.75
    ```
    """
    below = np.mean(ratios < 1.0, axis=1)
    means = np.mean(ratios, axis=1)
    return {
        "ratios": ratios.tolist(),
        "share_below_one": float(np.mean(below)),
        "share_interval": half_interval(below),
        "mean": float(np.mean(means)),
        "mean_interval": half_interval(means),
        "median": float(np.median(ratios)),
    }


def difference(ratios: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How much one learner's ratios are above another's, on the same pairs of tasks.

    Args:
        ratios: float array, `[sources, targets]`.
        other: float array of the same shape.

    Returns:
        dict: `mean`, its half `interval`, and `share_smaller`, of the pairs.
    """
    apart = np.mean(ratios - other, axis=1)
    return {
        "mean": float(np.mean(apart)),
        "interval": half_interval(apart),
        "share_smaller": float(np.mean(ratios < other)),
    }


def histogram_figure(found: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str) -> Figure:
    """Histograms of ratios, a row for each run and a column for each stage of its training.

    Args:
        found: mapping from runs to mappings from stages to what `summary` returns.
        title: str.

    Returns:
        matplotlib `Figure`.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.multimodal.transference import histogram_figure, summary

    best = summary(np.array([[0.9], [0.8], [1.1]]))
    figure = histogram_figure({"kml": {"best": best}}, "photos to drawings")
    assert len(figure.axes) == 1
    ```
    """
    rows, columns = len(found), max(len(stages) for stages in found.values())
    figure = Figure(figsize=(1.0 + 3.4 * columns, 0.6 + 2.4 * rows), dpi=110, layout="constrained")
    panes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    every = np.concatenate(
        [np.ravel(stage["ratios"]) for stages in found.values() for stage in stages.values()]
    )
    # A few far tails would leave all others in one bin; they are counted in the outermost ones.
    low, high = np.quantile(every, (0.01, 0.99))
    low, high = min(low, 1.0), max(high, 1.0)
    edges = np.linspace(low, high if high > low else low + 1e-6, BINS + 1)
    for row, (name, stages) in enumerate(found.items()):
        for axes, (stage, values) in zip(panes[row], stages.items(), strict=False):
            ratios = np.clip(np.ravel(values["ratios"]), edges[0], edges[-1])
            weights = np.full(ratios.shape, 1.0 / ratios.size)
            axes.hist(ratios, edges, weights=weights, color=COLORS[row % len(COLORS)])
            axes.axvline(1.0, color="black", linewidth=1.0, linestyle="--")
            share = f"{100 * values['share_below_one']:.0f} % below 1"
            # As wide as a pane is, for a run's long name.
            heading = f"{printable(name, 44)}\n{stage}: {share}"
            axes.set_title(heading, fontsize=8, parse_math=False)
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        panes[row][0].set_ylabel("pairs of tasks", fontsize=8)
    for axes in panes[-1]:
        axes.set_xlabel("loss after / loss before", fontsize=8)
    figure.suptitle(title, fontsize=9, parse_math=False)
    return figure


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    index: int = 0,
    episodes: int = SOURCES,
    targets: int = 1,
    source_mode: str | None = None,
    target_mode: str | None = None,
    rate: float = RATE,
    kept_epochs: tuple[int, ...] = (),
) -> Analysis:
    """Ratios of a target task's losses after and before an update for each source task.

    Source tasks are drawn from the split `train` as in training, target tasks as evaluation draws
    them; all runs meet the same ones.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further runs, such as the same network without KML.
        split: str. Of the target tasks.
        index: int. Number of the first target task.
        episodes: int. Source tasks.
        targets: int. Target tasks.
        source_mode: str or None. Mode of a mixture; None: all.
        target_mode: str or None. Likewise.
        rate: float. Of the update.
        kept_epochs: tuple of int. Epochs that the runs kept (`train.keep_epochs`), looked at
            before the best learner.

    Returns:
        `Analysis`.

    Raises:
        FileNotFoundError: if a run has no trained learner, or did not keep an epoch.
        ValueError: if a mode does not exist, or the rate is no rate.
    """
    runs = (request.run, *compare)
    _check_kept(runs, kept_epochs)
    experiment, learners = compared(request, compare, split)
    from kfsl.analysis.multimodal.loss_ratios import LossRatios

    sources = list(tasks(experiment, "train", source_mode, 0, episodes, trained=True))
    aims = list(tasks(experiment, split, target_mode, index, targets, trained=False))
    found: dict[str, dict[str, Any]] = {}
    ratios: dict[str, np.ndarray] = {}
    for name, run in zip(run_names([run.path for run in runs]), runs, strict=True):
        measured = LossRatios(learners[run.path], rate)
        found[name] = {}
        for stage, path in _files(run, kept_epochs):
            load_weights(learners[run.path], path)
            ratios[name] = measured.of(sources, aims)
            found[name][stage] = summary(ratios[name])
    first, *others = ratios
    apart = {other: difference(ratios[first], ratios[other]) for other in others}
    values = {
        "split": split, "episodes": episodes, "targets": targets, "index": index, "rate": rate,
        "source_mode": source_mode, "target_mode": target_mode, "runs": found,
        "against": apart,
    }  # fmt: skip
    ends = (source_mode or "train", target_mode or split)
    names = " to ".join(printable(each, 28) for each in ends)
    title = f"transference, {names}\n{episodes} source tasks, target tasks of {split}: {targets}"
    asked = {
        "index": index, "episodes": episodes, "targets": targets, "rate": rate,
        "kept_epochs": kept_epochs, "compare": compare,
    }  # fmt: skip
    usual = inspect.signature(analyze).parameters
    changed = {name: value for name, value in asked.items() if value != usual[name].default}
    stem = transference_name(split, source_mode, target_mode, changed, request.run.path)
    return Analysis(stem, histogram_figure(found, title), values, _table(found, first, apart))


def _check_kept(runs: Sequence[RunDirectory], epochs: Sequence[int]) -> None:
    for run in runs:
        for epoch in epochs:
            if not os.path.isfile(run.kept_learner(epoch)):
                raise FileNotFoundError(
                    f"{run.path!r} did not keep its learner of epoch {epoch}: bind "
                    f"train.keep_epochs = ({epoch},) before it is trained."
                )


def _files(run: RunDirectory, epochs: Sequence[int]) -> Iterator[tuple[str, str]]:
    for epoch in epochs:
        yield f"epoch {epoch}", run.kept_learner(epoch)
    yield BEST, run.best_learner


def _table(
    found: Mapping[str, Mapping[str, Mapping[str, Any]]],
    first: str,
    apart: Mapping[str, Mapping[str, float]],
) -> str:
    lines = [
        f"{name}, {stage}: {100 * each['share_below_one']:.1f} ± {100 * each['share_interval']:.1f}"
        f" % below 1, mean {each['mean']:.5f} ± {each['mean_interval']:.5f}, median "
        f"{each['median']:.5f}"
        for name, stages in found.items()
        for stage, each in stages.items()
    ]
    lines += [
        f"{first} - {other}, best: mean {each['mean']:+.5f} ± {each['interval']:.5f}, smaller for "
        f"{100 * each['share_smaller']:.1f} % of the pairs"
        for other, each in apart.items()
    ]
    return "\n".join(lines)
