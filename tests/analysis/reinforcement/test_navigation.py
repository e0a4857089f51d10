"""The picture of paths in the plane is of the run's own tasks."""

import os
import types

import pytest

from kfsl import configurables
from kfsl.analysis import analyses
from kfsl.analysis.request import AnalysisRequest
from kfsl.reinforcement.environment import task_generator
from kfsl.reinforcement.evaluate_policy import evaluate_policy
from kfsl.runs.run_directory import RunDirectory

BINDINGS = (
    "Navigation.horizon = 5",
    "PolicyExperiment.rollouts = 2",
    "MLP.hidden = (4, 4)",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose policy is as it was drawn."""
    run = RunDirectory(str(tmp_path_factory.mktemp("plane") / "run"))
    run.start(configurables.parse(["gin/rl/navigation.gin"], BINDINGS))
    experiment = configurables.experiment()
    os.makedirs(os.path.dirname(run.best_learner))
    experiment.learner.save(run.best_learner)
    return run


@pytest.mark.parametrize("count", [1, 3])
def test_the_picture_is_of_the_tasks_that_the_run_is_evaluated_on(trained, count):
    run = trained
    arguments = {"seed": 7, "rollouts": 3, "later_share": 0.5}
    bindings = tuple(f"evaluate_policy.{name} = {value}" for name, value in arguments.items())
    drawn = analyses.find("navigation")(AnalysisRequest(run, bindings), count=count)
    configurables.check_overrides(bindings, run.config, "this analysis")
    experiment = configurables.trained_experiment(run)
    tasks = experiment.environment.draw_tasks(task_generator(7, "test", 0), count)
    assert drawn.values["goals"] == tasks.tolist()
    found = evaluate_policy(experiment, episodes=max(count, 2), updates=2, **arguments)
    assert drawn.values["returns"] == [returns[:count] for returns in found.after_updates]
    assert len(drawn.figure.axes) == 3 * count


def test_a_run_without_a_plane(trained, monkeypatch):
    def experiment(*_):
        return types.SimpleNamespace(environment=object())

    request = AnalysisRequest(trained)
    monkeypatch.setattr(AnalysisRequest, "experiment", experiment)
    with pytest.raises(ValueError, match="has no agent that moves in the plane"):
        analyses.find("navigation")(request)
