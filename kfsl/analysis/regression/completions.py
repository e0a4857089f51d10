"""Images that several learners completed from the same pixels."""

from __future__ import annotations

import numpy as np

from kfsl.analysis.answer import Analysis
from kfsl.analysis.compared_learners import compared
from kfsl.analysis.numbered_episode import numbered_episode
from kfsl.analysis.request import NUMBERS, AnalysisRequest
from kfsl.episodes import QUERY_INPUTS
from kfsl.figures.completion import MAX_ROWS, completed, completions_figure, image_size
from kfsl.figures.curves import run_names, told_apart
from kfsl.figures.text_table import text_table
from kfsl.runs.run_directory import RunDirectory


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
    index: int = 0,
    count: int = 5,
) -> Analysis:
    """Draws images, a row for each: given pixels, what each learner makes of them, truth.

    Args:
        request: `AnalysisRequest`. Its episodes are those of the picture.
        compare: tuple of `RunDirectory`. Further runs, of learners that take such episodes.
        split: str. Which images.
        index: int. Number of the first episode, from 0.
        count: int. How many.

    Returns:
        `Analysis`.

    Raises:
        ValueError: for a run that completes no images, or more images than a picture has room for.
    """
    if count > MAX_ROWS:
        raise ValueError(f"--count must be at most {MAX_ROWS} here; received {count}.")
    experiment, learners = compared(request, compare, split, NUMBERS)
    seed = request.run.metadata.get("seed")
    drawn = [numbered_episode(experiment, split, index + i, seed) for i in range(count)]
    names = [key for key in drawn[0][0] if key != "seed"]
    episode = {key: np.concatenate([each[key] for each, *_ in drawn]) for key in names}
    targets = np.concatenate([each for _, each, _ in drawn])
    image_size(episode[QUERY_INPUTS][0])
    found = [completed(learner, episode) for learner in learners.values()]
    completions = dict(zip(run_names(list(learners)), found, strict=True))
    errors = {
        name: np.mean((colours - targets) ** 2, axis=(1, 2)).tolist()
        for name, colours in completions.items()
    }
    rows = [("run", f"mean squared error of these {count}")]
    rows += [(name, f"{np.mean(each):.4f}") for name, each in errors.items()]
    return Analysis(
        f"completions_{split}_{index}",
        completions_figure(
            dict(zip(told_apart(list(errors)), found, strict=True)), episode, targets
        ),
        {"split": split, "episodes": list(range(index, index + count)), "errors": errors},
        table=text_table(rows),
    )
