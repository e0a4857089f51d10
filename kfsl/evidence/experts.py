"""Several learners, one for each mode of a mixture, taken for one."""

import dataclasses
from collections.abc import Sequence

from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.paired_difference import differences


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
    from kfsl.evidence.experts import merged
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
        calibration={},
        open_set={},
        weights="",
        seconds=sum(evaluation.seconds for _, evaluation in experts),
    )
