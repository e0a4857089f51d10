"""Analyses that learners of numbers have, and those that refuse them."""

import numpy as np
import pytest

from kfsl import configurables
from kfsl.analysis import analyses
from kfsl.analysis.request import AnalysisRequest
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters

CONFIG = """
Experiment.dataset = @letters_dataset()
letters_dataset.path = {store!r}
Experiment.sampler = @pixel_episode
pixel_episode.points = 6
Regression.width = 1
MLP.hidden = (6, 5)
MLP.image_shape = (2,)
Experiment.learner = @ModGrad()
ModGrad.backbone = @MLP()
ModGrad.objective = @Regression()
ModGrad.adapted = ('hidden2',)
ModGrad.context_size = 4
ModGrad.initial_factor = 1.0
evaluate.episodes = 4
"""
#: What needs no classes.
ASKED = {
    "gradient_noise": {"levels": (0.0, 0.5), "episodes": 4},
    "inner_steps": {"episodes": 3},
    "modgrad_spectrum": {"episodes": 2},
    "second_order": {},
}
REFUSED = sorted(set(analyses.OF_LEARNERS) - set(ASKED) - {"completions", "navigation"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    store = str(folder / "store")
    letters.write_letters(store)
    found = RunDirectory(str(folder / "run"))
    found.start(configurables.parse_text(CONFIG.format(store=store)))
    experiment = configurables.experiment()
    (folder / "run" / "best").mkdir()
    experiment.learner.save(found.best_learner)
    found.update_metadata({"dataset_fingerprint": experiment.dataset.fingerprint})
    return found


@pytest.mark.parametrize("name", sorted(ASKED))
def test_what_needs_no_classes_is_analysed(run, name):
    found = analyses.find(name)(AnalysisRequest(run), **ASKED[name])
    assert found.figure is not None
    if name in ("gradient_noise", "inner_steps"):
        assert found.values["metric"] == "error"
        (values,) = found.values["runs"].values()
        assert np.all(np.array(values["error"]) > 0)
        assert found.figure.axes[0].get_ylabel() == "error"


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_classes_refuses_numbers(run, name):
    message = "answers with numbers: this analysis is for learners that answer with classes"
    with pytest.raises(ValueError, match=message):
        analyses.find(name)(AnalysisRequest(run))
