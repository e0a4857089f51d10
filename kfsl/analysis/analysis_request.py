"""What `kfsl.analyze` was asked."""

import dataclasses
from typing import TYPE_CHECKING, Any

from kfsl import commands
from kfsl.run_directory import RunDirectory
from kfsl.trained_run import check_trained

if TYPE_CHECKING:
    from kfsl.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class AnalysisRequest:
    """The arguments of an analysis.

    Args:
        run: `RunDirectory`.
        compare: tuple of `RunDirectory`. Further runs, for analyses that compare.
        split: str or None. None leaves the choice to the analysis.
        index: int. Number of the episode, where one is drawn.
        query: int. Which of its queries, where one is drawn.
        count: int. Length of lists.
        levels: tuple of float. Values of what an analysis varies, such as noise or numbers of
            inner steps; empty leaves them to the analysis.
        episodes: int or None. How many; None leaves the number to the analysis.
        noise_scale: str. What levels of noise are: `"std"` or `"variance"`.
        bindings: tuple of str. Gin bindings that win over the run's own.
    """

    run: RunDirectory
    compare: tuple[RunDirectory, ...] = ()
    split: str | None = None
    index: int = 0
    query: int = 0
    count: int = 10
    levels: tuple[float, ...] = ()
    episodes: int | None = None
    noise_scale: str = "std"
    bindings: tuple[str, ...] = ()

    def experiment(self) -> "Experiment":
        """The trained experiment; imports TensorFlow.

        Raises:
            RunDirectoryError: if the folder is no run directory.
            FileNotFoundError: if nothing was trained.
        """
        check_trained(self.run)
        with commands.quiet_start():
            from kfsl import configurables
        return configurables.trained_experiment(self.run, self.bindings)

    def episode(self) -> tuple["Experiment", dict[str, Any], Any, tuple[str, ...]]:
        """The trained experiment and its episode `index` of `split`, or of `val`.

        Returns:
            Experiment, episode and query labels with `B = 1`, names of the split's classes.
        """
        experiment = self.experiment()
        from kfsl.analysis.numbered_episode import numbered_episode

        split = self.split or "val"
        seed = self.run.metadata.get("seed")
        return experiment, *numbered_episode(experiment, split, self.index, seed)
