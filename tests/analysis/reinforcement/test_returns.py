"""Returns over updates: each run's own, and what they differ by on the same tasks."""

import dataclasses

import numpy as np
import pytest

from kfsl.analysis.reinforcement.returns import returns_figure, returns_values
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.measure import half_interval

#: What three tasks return after 0, 1 and 2 updates.
FIRST = [[-40.0, -38.0, -42.0], [-20.0, -15.0, -10.0], [-9.0, -12.0, -6.0]]
SECOND = [[-41.0, -38.0, -41.0], [-16.0, -13.0, -10.0], [-8.0, -8.0, -8.0]]


def evaluation(returns, learner="MAML", **others):
    values = {
        "split": "test", "values": returns[1], "ways": None, "shots": 20, "queries": 20,
        "seed": 0, "dataset": "navigation", "dataset_fingerprint": "plane",
        "episodes_fingerprint": "goals", "learner": learner, "bn_policy": "running",
        "transductive": False, "metric": "return", "after_updates": returns, **others,
    }  # fmt: skip
    return Evaluation(**values)


def test_means_and_differences_of_the_same_tasks():
    found = returns_values({"a": evaluation(FIRST), "b": evaluation(SECOND, "ModGrad")})
    assert (found["split"], found["tasks"]) == ("test", 3)
    first, second = found["runs"].values()
    assert (first["learner"], second["learner"]) == ("MAML", "ModGrad")
    assert first["return"] == [-40.0, -15.0, -9.0]
    assert first["interval"] == [half_interval(column) for column in FIRST]
    assert "against_first" not in first
    # Paired: 4, 2, 0 after one update, 1, 4, -2 after two.
    np.testing.assert_allclose(second["against_first"]["mean"], [0.0, 2.0, 1.0])
    gaps = [[-1.0, 0.0, 1.0], [4.0, 2.0, 0.0], [1.0, 4.0, -2.0]]
    np.testing.assert_allclose(
        second["against_first"]["interval"], [half_interval(gap) for gap in gaps]
    )


def test_beyond_the_first_update_only_where_both_went_as_far():
    found = returns_values({"a": evaluation(FIRST), "b": evaluation(SECOND, later_share=0.5)})
    second = found["runs"]["b"]
    assert len(second["return"]) == 3
    np.testing.assert_allclose(second["against_first"]["mean"], [0.0, 2.0])


def test_runs_of_fewer_updates_are_paired_as_far_as_both_go():
    longer = evaluation([*SECOND, [-5.0, -6.0, -7.0]])
    found = returns_values({"a": evaluation(FIRST), "b": longer})
    assert len(found["runs"]["b"]["return"]) == 4
    assert len(found["runs"]["b"]["against_first"]["mean"]) == 3
    figure = returns_figure(found)
    short, long = figure.axes[0].get_lines()
    assert list(short.get_ydata()) == [-40.0, -15.0, -9.0]
    assert list(long.get_xdata()) == [0, 1, 2, 3]
    assert figure.axes[0].get_title() == "test, 3 tasks"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dataset_fingerprint": "another"}, "dataset_fingerprint"),
        ({"seed": 1, "episodes_fingerprint": "others"}, "seed"),
        ({"shots": 10}, "shots"),
        ({"after_updates": []}, "'b' has no policy"),
    ],
)
def test_what_cannot_be_compared(changed, words):
    second = dataclasses.replace(evaluation(SECOND), **changed)
    with pytest.raises(ValueError, match=words):
        returns_values({"a": evaluation(FIRST), "b": second})
