"""What `kfsl.analyze` was asked to look at."""

import dataclasses
import os
from typing import TYPE_CHECKING

from kfsl.command_line import command
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained

if TYPE_CHECKING:
    from kfsl.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class AnalysisRequest:
    """A run to look at, and what is bound anew for it.

    Args:
        run: `RunDirectory`, or None for analyses of a model without a run.
        bindings: tuple of str. Gin bindings that win over the run's own.
    """

    run: RunDirectory | None
    bindings: tuple[str, ...] = ()

    def experiment(self) -> "Experiment":
        """The trained experiment; imports TensorFlow.

        Raises:
            RunDirectoryError: if the folder is no run directory.
            FileNotFoundError: if nothing was trained.
        """
        check_trained(self.run)
        with command.quiet_start():
            from kfsl import configurables
        return configurables.trained_experiment(self.run, self.bindings)


def check_model_file(path: str) -> None:
    """Refuses what cannot be a Keras file.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not os.path.isfile(path) or not path.endswith(".keras"):
        raise FileNotFoundError(
            f"{path!r} is not a .keras file; write one with model.save('model.keras')."
        )
