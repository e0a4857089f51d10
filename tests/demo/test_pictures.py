"""Where a model looks, and what is said where that cannot be shown."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.pretrained_backbone import PretrainedBackbone
from kfsl.demo import pictures
from kfsl.learners import DenseClassification, SimpleShot
from tests.support.demo_bench import bench_of, drawings, fill, stanet
from tests.support.exported_model import SHAPE, maml, prototypical_network


def asked(learner, folder, **arguments):
    """A workbench with three classes and two queries."""
    bench = bench_of(learner, **arguments)
    fill(bench, folder, ant=(0, 0, 1), bee=(1, 0, 1), cat=(2, 0, 1))
    bench.ask(drawings(folder, 2, 9) + drawings(folder, 0, 9))
    return bench


def dense(**arguments):
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2)
    return DenseClassification(backbone, base_classes=6, **arguments)


def drawn(figure, axes, image):
    """One of the images that some axes of a figure show."""
    return np.asarray(figure.axes[axes].images[image].get_array())


def test_of_a_run_of_stanet_its_attention_is_drawn(tmp_path):
    learner = stanet(ways=3)
    bench = asked(learner, tmp_path, with_learner=True)
    figure, words = pictures.picture(bench, 1)
    assert words == pictures.ATTENTION
    # The image and six supports, over two layers.
    assert len(figure.axes) == 7 * 3
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes[:7]]
    assert titles == ["query", "ant", "ant", "bee", "bee", "cat", "cat"]
    episode = {
        "support_images": np.stack(bench.pixels(bench.support.files))[None],
        "support_labels": np.array([bench.support.labels], "int32"),
        "query_images": np.stack(bench.pixels(bench.queries.files[1:]))[None],
    }
    attention = learner(episode, training=False)["spatial_attention_query"]
    np.testing.assert_allclose(drawn(figure, 7, 1), np.asarray(attention)[0, 0, 0], atol=1e-6)


def test_of_its_export_alone_the_norm_of_its_maps_is_drawn(tmp_path):
    learner = stanet(ways=3)
    bench = asked(learner, tmp_path)
    figure, words = pictures.picture(bench, 1)
    assert words == pictures.NORMS
    query = np.stack(bench.pixels(bench.queries.files[1:]))
    maps = np.asarray(learner.embed(query[None])[0, 0])
    np.testing.assert_allclose(drawn(figure, 1, 1), np.linalg.norm(maps, axis=-1), rtol=1e-4)
    np.testing.assert_array_equal(drawn(figure, 0, 0), query[0, ..., 0])


def test_of_a_run_of_dense_classification_the_map_of_the_likeliest_class_is_drawn(tmp_path):
    learner = dense()
    bench = asked(learner, tmp_path, with_learner=True)
    figure, words = pictures.picture(bench, 0)
    assert words == pictures.ACTIVATION
    support, query = (
        np.stack(bench.pixels(one.files))[None] for one in (bench.support, bench.queries)
    )
    state = learner.adapt(learner.embed(support), np.array([bench.support.labels], "int32"))
    maps = np.asarray(learner.activation_maps(learner.embed(query), state))
    likeliest = bench.table().probabilities[0].argmax()
    np.testing.assert_allclose(drawn(figure, 1, 1), maps[0, 0, :, :, likeliest], atol=1e-6)


def test_flattened_maps_are_said_to_have_no_activation_map(tmp_path):
    bench = asked(
        dense(support_pooling="flatten", query_pooling="flatten"), tmp_path, with_learner=True
    )
    figure, words = pictures.picture(bench, 0)
    assert figure is None
    assert "have no activation maps" in words


def test_a_vector_is_said_to_have_no_places(tmp_path):
    images = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(4, 3)(images)
    network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    backbone = PretrainedBackbone(network, image_shape=SHAPE)
    figure, words = pictures.picture(asked(SimpleShot(backbone), tmp_path), 0)
    assert figure is None
    assert words == "No picture: this SimpleShot makes 4 numbers of an image, without places in it."


def test_a_method_that_embeds_no_image_alone_is_said_to(tmp_path):
    figure, words = pictures.picture(asked(maml(), tmp_path), 0)
    assert figure is None
    assert words.startswith("No picture: of one image alone this MAML computes nothing")


@pytest.mark.parametrize("place", [0, 1])
def test_each_query_has_its_own_picture(tmp_path, place):
    bench = asked(prototypical_network(SHAPE), tmp_path)
    figure, _ = pictures.picture(bench, place)
    shown = bench.pixels(bench.queries.files)
    np.testing.assert_array_equal(drawn(figure, 0, 0), shown[place][..., 0])
    assert not np.array_equal(shown[place], shown[1 - place])
