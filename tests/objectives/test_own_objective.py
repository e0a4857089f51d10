"""An objective that a user writes: what it measures reaches runs, evaluations and comparisons."""

import json
import os
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from kfsl.episodes import EpisodeSpec
from kfsl.learners import (
    MAML,
    DenseClassification,
    ModulatedPrototypicalNetwork,
    PrototypicalNetwork,
    STANet,
)
from kfsl.objectives import Classification, Regression
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.measure import Measure, make_known, measure_named, measures
from tests.support import letters
from tests.support.backbones import two_blocks
from tests.support.forked import python

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/regression_and_rl.md"
TINY = """
import my_objectives
load_dataset.name = 'sinusoids'
Experiment.dataset = @load_dataset()
Experiment.learner = @MAML()
MAML.backbone = @MLP()
MAML.objective = @AbsoluteErrors()
MAML.inner_rate = 0.01
AbsoluteErrors.width = 1
MLP.image_shape = (1,)
MLP.hidden = (8,)
Experiment.sampler = @sinusoid_episode
sinusoid_episode.points = 5
train.optimizer = @Adam()
train.meta_batch = 2
train.epochs = 2
train.steps_per_epoch = 2
train.validation_episodes = 3
evaluate.episodes = 4
"""


@keras.saving.register_keras_serializable(package="user")
class DoubleLosses(Classification):
    """Classes, whose errors cost twice as much."""

    def losses(self, targets, outputs):
        return 2 * super().losses(targets, outputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the page's example is a module, and a gin file uses it."""
    folder = tmp_path_factory.mktemp("own")
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        if "class AbsoluteErrors" in block
    )
    head = "import numpy as np\nfrom kfsl.objectives import Regression\n"
    module = example[: example.index("objective = AbsoluteErrors")]
    (folder / "my_objectives.py").write_text(head + module, "utf-8")
    (folder / "own.gin").write_text(TINY, "utf-8")
    return folder


def command(folder: Path, *arguments: str):
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = python(["-m", *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_it_is_trained_evaluated_and_compared_by_its_own_measure(folder):
    for name, rate in (("one", 0.01), ("other", 0.0)):
        printed = command(
            folder, "kfsl.train", "--gin_file=own.gin", f"--run_dir={name}",
            f"--gin_param=MAML.inner_rate = {rate}",
        )  # fmt: skip
        assert re.search(r"validation deviation \d+\.\d{4} ± ", printed)
        printed = command(folder, "kfsl.evaluate", f"--run_dir={name}")
        assert re.search(r"4 episodes: deviation \d+\.\d{4} ± ", printed)
    record = json.loads((folder / "one/evaluation/test.json").read_text("utf-8"))
    assert record["metric"] == "deviation"
    assert len(record["deviations"]) == 4
    lines = (folder / "one/metrics.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 2
    assert all("val_deviation" in json.loads(line) for line in lines)
    printed = command(folder, "kfsl.evaluate", "--run_dir=one", "--against=other")
    assert re.search(r"same 4 episodes: [-+]\d\.\d{4} ± .* \(less is better\)", printed)


def test_a_record_of_an_unknown_measure_says_what_is_missing():
    with pytest.raises(ValueError, match="'sharpness' is measured by no objective that is known"):
        Evaluation.from_json({"metric": "sharpness", "sharpnesses": [1.0]})


def test_a_name_has_one_meaning():
    make_known(Measure("error", "errors", larger_is_better=False))  # As it is known.
    with pytest.raises(ValueError, match="'error' is measured already, otherwise"):

        class LargerErrors(Regression):
            measure = Measure("error", "errors")

    assert not measure_named("error").larger_is_better
    assert len({measure.name for measure in measures()}) == len(measures())


@pytest.mark.parametrize("ways", [None, 3])
def test_an_own_objective_of_classes_is_saved_with_its_learner(tmp_path, ways):
    learner = letters.prototypical_network(objective=DoubleLosses(ways))
    learner.save(tmp_path / "learner.keras")
    labels, logits = np.array([[0, 2]]), np.zeros((1, 2, 3), "float32")
    for loaded in (
        type(learner).from_config(learner.get_config()),
        keras.saving.load_model(tmp_path / "learner.keras"),
    ):
        assert type(loaded.objective) is DoubleLosses
        assert loaded.ways == ways
        loss = float(loaded.objective.loss(labels, logits))
        assert abs(loss - 2 * np.log(3)) < 1e-6


def maps():
    keras.utils.set_random_seed(0)
    return two_blocks((8, 8, 1), filters=4)


def doubled(make, ways):
    """A learner with the objective, and what its loss is of the learner's own logits."""
    episode, labels = EpisodeSpec(3, 2, 2, (8, 8, 1)).random_episode()
    plain, own = make(ways=ways), make(objective=DoubleLosses(ways))
    losses = [each.compute_loss(episode, labels, each(episode)) for each in (plain, own)]
    return own, losses


@pytest.mark.parametrize(
    "make",
    [
        lambda **how: STANet(maps(), num_layers=1, **how),
        lambda **how: ModulatedPrototypicalNetwork(maps(), maps(), embedding_size=4, **how),
        lambda **how: PrototypicalNetwork(maps(), **how),
        lambda **how: MAML(maps(), steps=0, **how),
    ],
    ids=["stanet", "modulated", "prototypical", "maml"],
)
def test_an_own_objective_of_classes_is_what_training_minimises(make, tmp_path):
    own, (plain, twice) = doubled(make, 3)
    np.testing.assert_allclose(twice, 2 * plain, rtol=1e-5)
    own.save(tmp_path / "own.keras")
    assert keras.saving.load_model(tmp_path / "own.keras").ways == 3


def test_an_own_objective_holds_for_every_location_of_base_classes():
    batch = {"query_images": np.random.default_rng(0).integers(0, 256, (1, 6, 8, 8, 1), "uint8")}
    labels = np.arange(6)[None] % 4
    losses = []
    for how in ({}, {"objective": DoubleLosses()}):
        learner = DenseClassification(maps(), base_classes=4, **how)
        losses.append(learner.loss_parts(batch, labels, learner(batch, training=True))["task"])
    np.testing.assert_allclose(losses[1], 2 * losses[0], rtol=1e-5)
