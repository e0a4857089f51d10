"""What `kfsl.analyze` was asked."""

import dataclasses
import os
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
        run: `RunDirectory`, or None where `model` is given instead.
        compare: tuple of `RunDirectory`. Further runs, for analyses that compare.
        split: str or None. None leaves the choice to the analysis.
        index: int. Number of the episode, where one is drawn.
        query: int. Which of its queries, where one is drawn.
        count: int. Length of lists.
        levels: tuple of float. Values of what an analysis varies, such as noise or numbers of
            inner steps; empty leaves them to the analysis.
        episodes: int or None. How many; None leaves the number to the analysis.
        noise_scale: str. What levels of noise are: `"std"` or `"variance"`.
        noise_seeds: int. Draws of the noise, for analyses that average over them.
        model: str or None. A `.keras` file, for analyses of a model without a run.
        bindings: tuple of str. Gin bindings that win over the run's own.
    """

    run: RunDirectory | None
    compare: tuple[RunDirectory, ...] = ()
    split: str | None = None
    index: int = 0
    query: int = 0
    count: int = 10
    levels: tuple[float, ...] = ()
    episodes: int | None = None
    noise_scale: str = "std"
    noise_seeds: int = 3
    model: str | None = None
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

    def audited_model(self) -> Any:
        """The Keras model in the file, or the network or backbone of the run's learner.

        Raises:
            ValueError: if the file holds no model that can be loaded.
            FileNotFoundError: if there is no such file, or nothing was trained.
        """
        if self.model is None:
            learner = self.experiment().learner
            network = getattr(learner, "network", None) or getattr(learner, "backbone", None)
            if network is None:
                raise ValueError(f"{type(learner).__name__} has neither network nor backbone.")
            return network
        if not os.path.isfile(self.model) or not self.model.endswith(".keras"):
            raise FileNotFoundError(
                f"{self.model!r} is not a .keras file; write one with model.save('model.keras')."
            )
        with commands.quiet_start():
            import keras

            import kfsl.configurables  # noqa: F401  Loading finds kfsl's classes by name.
        try:
            return keras.saving.load_model(self.model, compile=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.model!r} cannot be loaded: {commands.one_line(error)[:300]} If it has "
                "classes of your own, call kfsl.analysis.second_order.audit(model) in Python."
            ) from error

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
