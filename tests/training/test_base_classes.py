"""Base classes by the same commands: trained as episodes of queries alone, measured likewise."""

import json
import os

import pytest

from tests.support import forked, letters
from tests.support.refusals import CHECKOUT, refusal

LEARNER = '''
import keras
from keras import ops

from kfsl import configurables
from kfsl.learners import PrototypicalNetwork


@configurables.register
@keras.saving.register_keras_serializable(package="user")
class BaseNetwork(PrototypicalNetwork):
    """A dense layer over the base classes beside prototypes of new ones."""

    def __init__(self, backbone, *, base_classes, **kwargs):
        super().__init__(backbone, **kwargs)
        self.base_classes = base_classes
        self.classifier = keras.layers.Dense(base_classes, name="classifier")
        self.classifier.build((None, 16))

    def classify_base(self, query_features, training=False):
        shape = ops.shape(query_features)
        return {"logits": self.classifier(ops.reshape(query_features, (*shape[:2], -1)))}

    def get_config(self):
        return {**super().get_config(), "base_classes": self.base_classes}
'''

GIN = """
import base_network
Experiment.learner = @BaseNetwork()
BaseNetwork.backbone = @Conv4()
BaseNetwork.base_classes = @count_classes()
count_classes.dataset = @load_dataset()
Conv4.image_shape = (8, 8, 1)
Conv4.filters = 4
Conv4.num_pools = 2
Conv4.bn_momentum = 0.9
Experiment.dataset = @load_dataset()
load_dataset.name = 'letters'
load_dataset.split = 'split.json'
load_dataset.held_out_images = 3
Experiment.sampler = @base_batch
base_batch.batch_size = 12
Experiment.evaluation_sampler = @evaluation/fixed_episode
evaluation/fixed_episode.ways = 3
evaluation/fixed_episode.queries = 2
train.epochs = 2
train.steps_per_epoch = 100
train.validation_episodes = 8
evaluate.episodes = 20
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    letters.write_letters(str(folder / "stores" / "letters"), images=24, noise=40.0)
    lists = {name: [f"c{i:02d}" for i in numbers] for name, numbers in letters.SPLITS.items()}
    (folder / "split.json").write_text(json.dumps(lists))
    (folder / "base_network.py").write_text(LEARNER)
    (folder / "base.gin").write_text(GIN)
    done = run(folder, "train", "--gin_file=base.gin")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def run(folder, command, *arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": CHECKOUT,
        "KFSL_STORE_DIR": str(folder / "stores"),
    }
    command = ["-m", f"kfsl.{command}", "--run_dir=runs/base", *arguments]
    return forked.python(command, env=environment, cwd=folder)


@pytest.mark.long
def test_base_batches_through_train_on_the_command_line(folder):
    lines = (folder / "runs/base/metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert last["loss"] < first["loss"]
    assert last["accuracy"] > 0.5  # One of five classes would be 0.2.
    assert "val_accuracy" in last


@pytest.mark.long
def test_a_batch_without_support_set_has_no_picture(folder):
    done = run(folder, "show", "--split=train")
    assert done.returncode == 2
    assert "There is no picture of a plain batch of base classes" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run(folder, "show", "--split=val").returncode == 0


@pytest.mark.long
def test_base_classes_are_measured_on_images_that_training_did_not_see(folder):
    sampler = "--gin_param=Experiment.evaluation_sampler = @base_batch"
    size = "--gin_param=base_batch.batch_size = 15"
    done = run(folder, "evaluate", "--split=base_test", sampler, size)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("base_test: 5 base classes, 20 episodes: ")
    (path,) = (folder / "runs/base/evaluation").glob("base_test*.json")
    found = json.loads(path.read_text())
    assert found["shots"] == 0
    assert found["mean"] > 0.5
    # All held-out images of the five classes, in each of twenty batches.
    assert {name: asked for name, (_, asked) in found["classes"].items()} == {
        f"c{i:02d}": 3 * 20 for i in letters.SPLITS["train"]
    }


@pytest.mark.long
def test_an_option_asks_for_base_classes(folder):
    done = run(folder, "evaluate", "--classes=base", "--episodes=4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("base_test: 5 base classes, 4 episodes: ")
    # This learner cannot tell new classes from those that it knows.
    done = run(folder, "evaluate", "--classes=both")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "BaseNetwork keeps no base classes" in line


def test_base_classes_have_a_split_of_their_own(folder):
    line = refusal(folder, "kfsl.evaluate", "--run_dir=runs/base", "--classes=base", "--split=val")
    assert "--classes=base has a split of its own" in line


def test_new_classes_are_measured_as_ever(folder):
    done = run(folder, "evaluate")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("test: 3-way 1-shot, 20 episodes: ")


def test_a_learner_without_base_classes_says_so(folder):
    learner = "--gin_param=Experiment.learner = @PrototypicalNetwork()"
    backbone = "--gin_param=PrototypicalNetwork.backbone = @Conv4()"
    done = run(folder, "train", "--gin_file=base.gin", learner, backbone, "--run_dir=runs/other")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "PrototypicalNetwork needs a support set" in line
