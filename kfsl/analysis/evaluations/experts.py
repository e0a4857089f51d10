"""One learner for each mode of a mixture, the mode known: Multi-ProtoNet, Multi-MAML."""

import ast
import dataclasses
from collections.abc import Sequence

from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest
from kfsl.command_line import gin_files
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.paired_difference import differences, paired_by_mode, paired_difference
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, stored_evaluation


def trained_modes(run: RunDirectory) -> tuple[str, ...] | None:
    """The modes that a run was trained on alone; None if on all of its mixture.

    Args:
        run: `RunDirectory`.

    Returns:
        tuple of str, or None.
    """
    value = gin_files.value(run.config, "mixture_episode", "modes")
    return None if value is None else tuple(ast.literal_eval(value))


def merged(experts: Sequence[tuple[tuple[str, ...], Evaluation]]) -> Evaluation:
    """The evaluation of several learners, each asked about the episodes of its modes.

    Args:
        experts: sequence of modes and `Evaluation`. All saw the same episodes.

    Returns:
        `Evaluation`.

    Raises:
        ValueError: if they saw different episodes, a mode has two learners or none, or the
            episodes are of no mixture.

    Example:
    ```python
    import dataclasses
    from kfsl.analysis.evaluations.experts import merged
    from kfsl.runs.evaluation_record import Evaluation

    first = Evaluation(
        split="test", values=[0.9, 0.2], ways=5, shots=1, queries=15, seed=0, dataset="mixed",
        dataset_fingerprint="", episodes_fingerprint="", learner="MAML", bn_policy="batch",
        transductive=True, modes=[0, 1], mode_names=["photos", "drawings"],
    )
    other = dataclasses.replace(first, values=[0.4, 0.7])
    both = merged([(("photos",), first), (("drawings",), other)])
    assert both.values == [0.9, 0.7]
    ```
    """
    _, first = experts[0]
    if not first.modes:
        raise ValueError(
            "These evaluations are of no mixture: evaluate each run on episodes of mixture_episode."
        )
    owners: dict[str, Evaluation] = {}
    for modes, evaluation in experts:
        apart = differences(first, evaluation)
        if apart or evaluation.episodes != first.episodes:
            raise ValueError(
                "The runs were evaluated on different episodes: they differ in "
                f"{'; '.join(apart) or 'their number'}. Evaluate all alike."
            )
        for mode in modes:
            if mode in owners:
                raise ValueError(f"Two runs were trained on the mode {mode!r}; leave one out.")
            owners[mode] = evaluation
    missing = [name for name in first.by_mode if name not in owners]
    if missing:
        raise ValueError(
            f"No run was trained on the mode {missing[0]!r} alone (mixture_episode.modes); name "
            "one with --compare."
        )
    accuracies = [
        owners[first.mode_names[mode]].values[number] for number, mode in enumerate(first.modes)
    ]
    names = dict.fromkeys(evaluation.learner for _, evaluation in experts)
    return dataclasses.replace(
        first,
        values=accuracies,
        learner=f"Multi-{'/'.join(names)}",
        classes={},
        confusions=[],
        weights="",
        seconds=sum(evaluation.seconds for _, evaluation in experts),
    )


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
        ValueError: as `merged`, or if no run is an expert.
    """
    runs = (request.run, *compare)
    for run in runs:
        check_trained(run)
    modes = {run.path: trained_modes(run) for run in runs}
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
        apart[path] = {
            **dataclasses.asdict(difference),
            "by_mode": {name: dataclasses.asdict(each) for name, each in by_mode.items()},
        }
        lines.append(f"{path}, {evaluation.learner}: {difference.summary()}")
        lines += [f"  {name}: {each.summary()}" for name, each in by_mode.items()]
    values = {
        "split": split,
        "experts": {path: list(each) for path, each in modes.items() if each is not None},
        "evaluation": together.to_json(),
        "against_experts": apart,
    }
    return Analysis(f"experts_{split}", None, values, "\n".join(lines))
