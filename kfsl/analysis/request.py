"""What `kfsl.analyze` was asked to look at."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kfsl.command_line import command
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained

if TYPE_CHECKING:
    from kfsl.experiment import Experiment

#: What a learner may be asked.
CLASSES, NUMBERS, ACTIONS = "classes", "numbers", "actions"


@dataclasses.dataclass(frozen=True)
class AnalysisRequest:
    """A run to look at, and what is bound anew for it.

    Args:
        run: `RunDirectory`, or None for analyses of a model without a run.
        bindings: tuple of str. Gin bindings that win over the run's own.
    """

    run: RunDirectory | None
    bindings: tuple[str, ...] = ()

    def experiment(self, *kinds: str) -> "Experiment":
        """The trained experiment; imports TensorFlow.

        Args:
            *kinds: str. What the learner may be asked: `CLASSES`, `NUMBERS`, `ACTIONS`. Defaults
                to classes.

        Raises:
            RunDirectoryError: if the folder is no run directory.
            FileNotFoundError: if nothing was trained.
            ValueError: if its learner is asked something else.
        """
        return trained_experiment(self.run, self.bindings, *kinds)


def trained_experiment(run: RunDirectory, bindings: Sequence[str], *kinds: str) -> "Experiment":
    """The trained experiment of any run, if its learner is of one of some kinds.

    Args:
        run: `RunDirectory`.
        bindings: sequence of str. Gin bindings that win over the run's own.
        *kinds: str. As in `AnalysisRequest.experiment`.

    Returns:
        `Experiment`, or `PolicyExperiment`.

    Raises:
        ValueError: if its learner is of another kind.
    """
    check_trained(run)
    with command.quiet_start():
        from kfsl import configurables
    found = configurables.trained_experiment(run, bindings)
    kinds = kinds or (CLASSES,)
    kind = ACTIONS
    if configurables.is_of_episodes(found):
        kind = CLASSES if found.learner.objective.has_classes else NUMBERS
    if kind not in kinds:
        raise ValueError(
            f"{run.path!r} has a {type(found.learner).__name__} that answers with {kind}: this "
            f"analysis is for learners that answer with {' or '.join(kinds)}."
        )
    return found


def check_model_file(path: str) -> None:
    """Refuses what cannot be a Keras file.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not os.path.isfile(path) or not path.endswith(".keras"):
        raise FileNotFoundError(
            f"{path!r} is not a .keras file; write one with model.save('model.keras')."
        )
