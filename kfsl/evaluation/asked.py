"""What a command asks of an evaluation: about which classes, and of which learner."""

from collections.abc import Callable
from typing import Any

from kfsl.calibration.record import Calibration
from kfsl.evaluation import base_classes
from kfsl.evaluation.open_set import with_unknown_queries
from kfsl.experiment import Experiment
from kfsl.learners.base.settings import settings_fingerprint
from kfsl.runs.run_directory import RunDirectory


def asked(
    run: RunDirectory,
    experiment: Any,
    split: str,
    classes: str,
    in_parts: bool,
    unknown: Callable | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The experiment, and the arguments of its evaluation, that ask about some classes.

    Args:
        run: `RunDirectory`.
        experiment: `Experiment`, or `PolicyExperiment`.
        split: str.
        classes: str. `"new"`, `"base"` or `"both"`.
        in_parts: bool. Whether it is computed or merged in parts.
        unknown: function or None. `open_set_episode`, to ask about unknown classes too.

    Returns:
        The experiment, and keyword arguments of `evaluate`.

    Raises:
        ValueError: for what a policy or a learner of numbers cannot be asked, or without
            held-out images of base classes.
    """
    if not isinstance(experiment, Experiment):
        _check_policy(run, classes, in_parts, unknown is not None)
        return experiment, {"split": split}
    if classes == "base":
        return base_classes.asked_alone(experiment), {"split": base_classes.BASE_TEST}
    if classes == "both":
        queries = base_classes.queries(experiment, split)
        return experiment, {"split": split, "base_queries": queries}
    arguments: dict[str, Any] = {"split": split}
    settings = settings_fingerprint(experiment.learner)
    # Of base classes nothing is fitted.
    fitted = Calibration.of_learner(run.calibration_path, experiment.weights, settings)
    if fitted is not None:
        arguments["calibration"] = fitted.served()
    if unknown is None:
        return experiment, arguments
    if not experiment.learner.objective.has_classes:
        raise ValueError(
            f"{run.path} has a {type(experiment.learner).__name__} that answers with numbers: "
            "there are no unknown classes; leave --open_set out."
        )
    return with_unknown_queries(experiment, unknown), arguments


def _check_policy(run: RunDirectory, classes: str, in_parts: bool, open_set: bool) -> None:
    if classes != "new" or open_set:
        flag = "--open_set" if open_set else "--classes"
        raise ValueError(f"{run.path} has a policy, which knows no classes; leave {flag} out.")
    if in_parts:
        raise ValueError(
            f"{run.path} has a policy, whose tasks act together; leave --shard and --merge out."
        )
