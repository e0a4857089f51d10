"""One learner for each mode of a mixture, the mode known: Multi-ProtoNet, Multi-MAML."""

import dataclasses

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.evidence.experts import merged
from kfsl.evidence.trained_modes import modes_of
from kfsl.runs.paired_difference import paired_by_mode, paired_difference
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, stored_evaluation


def analyze(
    request: AnalysisRequest,
    *,
    compare: tuple[RunDirectory, ...] = (),
    split: str = "test",
) -> Analysis:
    """Accuracy of one learner a mode, and what runs trained on all modes differ from it by.

    The runs that were trained on some modes alone (`mixture_episode.modes`) are the experts; each
    was evaluated on the whole mixture. The others are compared with them, episode by episode.

    Args:
        request: `AnalysisRequest`.
        compare: tuple of `RunDirectory`. Further experts, and runs to compare.
        split: str.

    Returns:
        `Analysis`.

    Raises:
        FileNotFoundError: if a run has no trained learner, or was not evaluated on the split.
        ValueError: as `merged`, if no run is an expert, or a run's modes cannot be read.
    """
    runs = (request.run, *compare)
    for run in runs:
        check_trained(run)
    modes = {run.path: modes_of(run.config, run.path) for run in runs}
    found = {run.path: stored_evaluation(run, split) for run in runs}
    experts = [(modes[path], found[path]) for path in found if modes[path] is not None]
    if not experts:
        raise ValueError(
            "None of these runs was trained on some modes alone (mixture_episode.modes), so there "
            "are no experts."
        )
    together = merged(experts)
    lines = [f"{together.learner}, {together.summary()}", *together.mode_lines()]
    apart = {}
    for path, evaluation in found.items():
        if modes[path] is not None:
            continue
        difference = paired_difference(evaluation, together)
        by_mode = paired_by_mode(evaluation, together)
        apart[path] = {**dataclasses.asdict(difference), **by_mode.to_json()}
        lines.append(f"{path}, {evaluation.learner}: {difference.summary()}")
        lines += by_mode.lines()
    values = {
        "split": split,
        "experts": {path: list(each) for path, each in modes.items() if each is not None},
        "evaluation": together.to_json(),
        "against_experts": apart,
    }
    return Analysis(f"experts_{split}", None, values, "\n".join(lines))
