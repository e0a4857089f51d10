"""Completed images of several runs, through the command."""

import json

import numpy as np
import pytest

from kfsl import configurables
from kfsl.analysis.regression.completions import analyze
from kfsl.analysis.request import AnalysisRequest
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters

CONFIG = """
Experiment.dataset = @letters_dataset()
letters_dataset.path = {store!r}
Experiment.sampler = @pixel_episode
pixel_episode.points = 6
Regression.width = 1
MLP.hidden = (8,)
MLP.image_shape = (2,)
Experiment.learner = @{learner}()
{learner}.backbone = @MLP()
{learner}.objective = @Regression()
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completions")
    store = str(folder / "store")
    letters.write_letters(store)
    found = []
    for name in ("MAML", "MetaSGD"):
        run = RunDirectory(str(folder / name.lower()))
        run.start(configurables.parse_text(CONFIG.format(store=store, learner=name)))
        experiment = configurables.experiment()
        (folder / name.lower() / "best").mkdir()
        experiment.learner.save(run.best_learner)
        run.update_metadata({"dataset_fingerprint": experiment.dataset.fingerprint})
        found.append(run)
    plain = letters.trained_run(str(folder / "classes"), store)
    return *found, plain


def test_all_meet_the_same_pixels(runs):
    first, second, _ = runs
    found = analyze(AnalysisRequest(first), compare=(second,), count=3, index=2)
    assert found.values["episodes"] == [2, 3, 4]
    assert list(found.values["errors"]) == ["maml", "metasgd"]
    assert all(len(errors) == 3 for errors in found.values["errors"].values())
    assert len(found.figure.axes) == 3 * 4
    alone = analyze(AnalysisRequest(second), count=3, index=2)
    np.testing.assert_allclose(
        alone.values["errors"]["metasgd"], found.values["errors"]["metasgd"], rtol=1e-6
    )
    assert json.dumps(found.values)
    assert "metasgd" in found.table


def test_runs_of_classes_and_too_many_rows_are_refused(runs):
    first, _, plain = runs
    with pytest.raises(
        ValueError,
        match="that answers with classes: this analysis is for learners that answer with numbers",
    ):
        analyze(AnalysisRequest(first), compare=(plain,))
    with pytest.raises(ValueError, match="--count must be at most 20 here; received 30"):
        analyze(AnalysisRequest(first), count=30)
