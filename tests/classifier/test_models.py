"""What a classifier can be made of."""

import keras
import numpy as np
import pytest

from kfsl import FewShotClassifier
from kfsl.backbones import pretrained
from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.mlp import MLP
from kfsl.classifier.models import HEADS, served_model
from kfsl.learners import LogisticRegression, PrototypicalNetwork, SimpleShot
from kfsl.learners.maml import MAML
from kfsl.objectives import Regression
from kfsl.serving.export import export
from tests.support.exported_model import SHAPE, prototypical_network

LEARNERS = {
    "simple_shot": SimpleShot,
    "logistic_regression": LogisticRegression,
    "prototypical_network": PrototypicalNetwork,
}


def plain_network(shape=(None, None, 3)):
    keras.utils.set_random_seed(0)
    layers = [keras.Input(shape), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(8, 3)]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])


def test_the_folder_of_a_learner_is_the_learner(model, drawings):
    images, names = drawings
    of_folder = FewShotClassifier(model).fit(images, names)
    of_learner = FewShotClassifier(prototypical_network(SHAPE)).fit(images, names)
    np.testing.assert_allclose(
        of_folder.predict_proba(images), of_learner.predict_proba(images), atol=1e-5
    )


@pytest.mark.parametrize("head", HEADS)
def test_a_network_gets_the_head_that_is_named(head, drawings):
    images, names = drawings
    network = plain_network()
    classifier = FewShotClassifier(network, head=head, image_size=24).fit(images, names)
    served = served_model(network, head, 24)
    assert served.image_shape == (24, 24, 3)
    assert served.description["learner"] == LEARNERS[head].__name__
    # A network of Keras gets pixels from 0 to 255.
    pixels = np.zeros((1, 24, 24, 3), "uint8") + np.array([10, 200, 90], "uint8")
    np.testing.assert_allclose(served.embed(pixels), network(pixels.astype("float32")), atol=1e-6)
    assert classifier.predict_proba(images).shape == (9, 3)


def test_a_network_of_grey_images_gets_them(drawings):
    images, names = drawings
    network = plain_network((24, 24, 1))
    classifier = FewShotClassifier(network).fit(images, names)
    assert classifier.predict_proba(images).shape == (9, 3)
    served = served_model(network)
    assert served.image_shape == (24, 24, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 1), "uint8")
    np.testing.assert_allclose(served.embed(pixels), network(pixels.astype("float32")), atol=1e-6)


def test_a_network_without_a_graph_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="must be a functional or sequential Keras model"):
        served_model(Own(), None, 24)


def test_simple_shot_is_the_default():
    assert served_model(plain_network(), None, 24).description["learner"] == "SimpleShot"


def test_sizes():
    with pytest.raises(ValueError, match="takes images of any size: say with `image_size`"):
        served_model(plain_network())
    assert served_model(plain_network((12, 10, 3))).image_shape == (12, 10, 3)
    with pytest.raises(ValueError, match=r"takes images of 12x10; received image_size=9\. Leave"):
        served_model(plain_network((12, 10, 3)), None, 9)
    backbone = pretrained("efficientnet_lite0", weights=None, image_size=64)
    assert served_model(backbone).image_shape == (64, 64, 3)
    assert served_model(backbone, None, (80, 96)).image_shape == (80, 96, 3)


def test_the_pretrained_network_by_its_name(drawings):
    images, names = drawings
    classifier = FewShotClassifier().fit(images, names)
    assert classifier.predict(images).tolist() == names
    served = served_model("efficientnet_lite0")
    assert (served.image_shape, served.description["learner"]) == ((224, 224, 3), "SimpleShot")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "no_such_network"}, ValueError, "no pretrained network 'no_such_network'"),
        ({"model": "./no/folder"}, FileNotFoundError, "no folder './no/folder'"),
        ({"model": 3}, TypeError, "a Keras model or a learner; received int"),
        ({"head": "svm"}, ValueError, "`head` must be one of simple_shot, .*received 'svm'"),
        ({"model": "EXPORT", "head": "simple_shot"}, ValueError, "head='simple_shot' has no place"),
        ({"model": "EXPORT", "image_size": 9}, ValueError, "image_size=9 has no place here"),
        ({"model": "EXPORT", "steps": 9}, ValueError, "steps=9 has no place here"),
    ],
)
def test_what_is_refused(model, drawings, arguments, error, message):
    images, names = drawings
    if arguments.get("model") == "EXPORT":
        arguments = {**arguments, "model": model}
    # Arguments are taken as they are, and checked when they are used.
    classifier = FewShotClassifier(**arguments)
    with pytest.raises(error, match=message):
        classifier.fit(images, names)


def test_an_export_of_numbers_is_refused(drawings, tmp_path):
    path = str(tmp_path / "model")
    network = MLP((2,), hidden=(4,), outputs=1)
    export(MAML(network, objective=Regression(1)), path, image_shape=None)
    with pytest.raises(ValueError, match=r"answers with numbers \(MAML\), not with classes"):
        FewShotClassifier(path).fit(*drawings)


def test_a_folder_of_something_else(tmp_path, drawings):
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(ValueError, match=r"holds no model: neither saved_model\.pb of an export"):
        FewShotClassifier(str(tmp_path)).fit(*drawings)


def test_a_learner_of_a_fixed_number_of_ways(drawings):
    images, names = drawings
    learner = MAML(Conv4(image_shape=SHAPE, filters=4, num_pools=2), ways=2)
    with pytest.raises(ValueError, match="exactly 2 classes apart, and the support set has 3"):
        FewShotClassifier(learner).fit(images, names)
    with pytest.raises(ValueError, match="head='simple_shot' has no place here: MAML has its own"):
        FewShotClassifier(learner, head="simple_shot").fit(images, names)
