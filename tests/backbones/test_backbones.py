"""What every backbone promises, each on a small instance of its kind."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.backbones.conv4 import Conv4
from kfsl.backbones.pre_activation_resnet12 import PreActivationResNet12
from kfsl.backbones.resnet12 import ResNet12
from kfsl.backbones.wide_resnet import WideResNet
from kfsl.layers.moments_scope import moments_scope
from kfsl.layers.normalization import BatchNormalization

SMALL = {
    "conv4": (Conv4, {"filters": 4}),
    "conv4_options": (
        Conv4,
        {
            "filters": (4, 5, 6, 7),
            "num_pools": 2,
            "use_bias": False,
            "activation": "elu",
            "activate_last": False,
            "bn_momentum": 0.9,
            "bn_epsilon": 1e-5,
        },
    ),
    "conv4_options_of_gradient_learners": (
        Conv4,
        {
            "filters": (4, 5, 6, 7),
            "num_pools": 3,
            "bn_scale": False,
            "strides": 2,
            "order": "pool-bn-activation",
            "pool_padding": "same",
        },
    ),
    "resnet12": (ResNet12, {"filters": (4, 5, 6, 7)}),
    "resnet12_options": (
        ResNet12,
        {
            "filters": (4, 5, 6, 7),
            "num_pools": 3,
            "activation": "relu",
            "shortcut_bn": False,
            "bn_momentum": 0.9,
            "bn_epsilon": 1e-5,
        },
    ),
    "pre_activation": (PreActivationResNet12, {"filters": (4, 5, 6, 7), "stem_filters": 3}),
    "pre_activation_options": (
        PreActivationResNet12,
        {
            "filters": (4, 5, 6, 7),
            "stem_filters": 3,
            "num_pools": 0,
            "negative_slope": 0.2,
            "final_bn": False,
            "bn_momentum": 0.9,
            "bn_epsilon": 1e-5,
        },
    ),
    "wide_resnet": (WideResNet, {"depth": 10, "width": 1}),
    "wide_resnet_options": (
        WideResNet,
        {"depth": 16, "width": 2, "bn_momentum": 0.8, "bn_epsilon": 1e-3},
    ),
}
each_backbone = pytest.mark.parametrize(("cls", "arguments"), SMALL.values(), ids=SMALL.keys())
basic_backbones = pytest.mark.parametrize(
    ("cls", "arguments"),
    [v for k, v in SMALL.items() if "options" not in k],
    ids=[k for k in SMALL if "options" not in k],
)


def images(n=4, size=32, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, size, size, channels)).astype("float32")


def built(cls, arguments, **more):
    keras.utils.set_random_seed(1)
    return cls(**arguments, **more)


@each_backbone
def test_config_lists_the_constructors_arguments(cls, arguments):
    backbone = built(cls, arguments, image_shape=(32, 32, 1), name="features")
    config = backbone.get_config()
    assert config["image_shape"] == (32, 32, 1)
    assert {key: config[key] for key in arguments} == arguments
    assert cls.from_config(config).get_config() == config
    code = cls.__init__.__code__
    signature = set(code.co_varnames[1 : code.co_argcount])
    assert set(config) == signature | {"name", "trainable", "dtype"}


@each_backbone
def test_saved_and_loaded(cls, arguments, tmp_path):
    backbone = built(cls, arguments)
    backbone(images(), training=True)
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert type(loaded) is cls
    np.testing.assert_array_equal(loaded(images(seed=2)), backbone(images(seed=2)))


@basic_backbones
def test_frozen_it_stays_frozen_when_it_is_saved_and_loaded(cls, arguments, tmp_path):
    model = cls(image_shape=(16, 16, 3), **arguments)
    assert model.trainable_weights
    model.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.trainable_weights == []
    assert not any(layer.trainable for layer in loaded.layers)
    images = np.random.default_rng(0).random((3, 16, 16, 3)).astype("float32")
    found, expected = (each(images, training=True) for each in (loaded, model))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not any(
        layer.trainable for layer in cls((16, 16, 3), trainable=False, **arguments).layers
    )


@basic_backbones
def test_layers_that_are_frozen_alone_stay_frozen(cls, arguments, tmp_path):
    backbone = built(cls, arguments)
    chosen = [layer for layer in backbone.layers if layer.weights][:2]
    for layer in chosen:
        layer.trainable = False
    kept = len(backbone.trainable_weights)
    assert 0 < kept < len(built(cls, arguments).trainable_weights)
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert [w.path for w in loaded.trainable_weights] == [
        w.path for w in backbone.trainable_weights
    ]
    assert not any(loaded.get_layer(layer.name).trainable for layer in chosen)


@basic_backbones
def test_free_image_size_is_the_same_network(cls, arguments):
    free, fixed = built(cls, arguments), built(cls, arguments, image_shape=(28, 28, 3))
    assert free.output_shape[:3] == (None, None, None)
    assert None not in fixed.output_shape[1:]
    np.testing.assert_array_equal(free(images(size=28)), fixed(images(size=28)))
    assert free(images(size=48)).shape[1] > fixed.output_shape[1]


@basic_backbones
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(cls, arguments, policy):
    backbone = built(cls, arguments, dtype=policy)
    outputs = backbone(images(), training=True)
    assert outputs.dtype == keras.DTypePolicy(policy).compute_dtype
    assert all(w.dtype == "float32" for w in backbone.weights)
    assert all(layer.dtype_policy.name == policy for layer in backbone.layers[1:])
    restored = cls.from_config(backbone.get_config())
    assert restored.dtype_policy.name == backbone.dtype_policy.name == policy
    assert restored(images()).dtype == outputs.dtype
    exact = built(cls, arguments)(images(), training=True)
    error = np.abs(tf.cast(outputs, "float32") - exact).mean() / np.abs(exact).mean()
    assert 0 < error < {"mixed_float16": 0.01, "mixed_bfloat16": 0.08}[policy]


@basic_backbones
def test_the_global_policy_is_the_default(cls, arguments):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = built(cls, arguments)
    finally:
        keras.config.set_dtype_policy(before)
    assert backbone.dtype_policy.name == "mixed_bfloat16"
    assert backbone(images()).dtype == "bfloat16"


def cancelled_by_batch_statistics(cls, arguments):
    """Constants that the next batch normalisation subtracts again in training."""
    if cls is Conv4 and arguments.get("use_bias", True):
        return {f"block{b}_conv/bias" for b in range(1, 5)}
    if cls is PreActivationResNet12 and arguments.get("final_bn", True):
        return {"stem_conv/bias", *(f"block{b}_shortcut_conv/bias" for b in range(1, 5))}
    return set()


@each_backbone
@pytest.mark.parametrize("training", [False, True])
def test_each_weight_has_a_gradient(cls, arguments, training):
    backbone = built(cls, arguments)
    # Offsets off zero: at zero a weight may have no gradient by symmetry.
    for weight in backbone.trainable_weights:
        if len(weight.shape) == 1:
            weight.assign_add(0.1 * np.random.default_rng(0).normal(size=weight.shape))
    with tf.GradientTape() as tape:
        outputs = backbone(images(n=8, size=33), training=training)
        cotangent = np.random.default_rng(2).normal(size=outputs.shape)
        loss = tf.reduce_sum(tf.sin(outputs) * cotangent)
    cancelled = cancelled_by_batch_statistics(cls, arguments) if training else set()
    gradients = tape.gradient(loss, backbone.trainable_weights)
    norms = {
        weight.path: float(tf.norm(gradient))
        for weight, gradient in zip(backbone.trainable_weights, gradients, strict=True)
    }
    assert cancelled <= set(norms)
    scale = max(norms.values())
    for path, norm in norms.items():
        if path in cancelled:
            assert norm < 1e-4 * scale, path
        else:
            assert norm > 1e-4 * scale, path


@each_backbone
def test_every_normalisation_is_ours_and_seen_by_a_scope(cls, arguments):
    backbone = built(cls, arguments)
    normalizations = [layer for layer in backbone.layers if "norm" in type(layer).__name__.lower()]
    assert normalizations
    for layer in normalizations:
        assert type(layer) is BatchNormalization
        assert layer.momentum == backbone.bn_momentum
        assert layer.epsilon == backbone.bn_epsilon
    with moments_scope(2) as scope:
        folded = backbone(images(6))
    assert set(scope.moments) == {layer.name for layer in normalizations}
    for episode, expected in zip(np.split(images(6), 2), np.split(folded, 2), strict=True):
        with moments_scope():
            np.testing.assert_allclose(backbone(episode), expected, rtol=1e-3, atol=1e-4)
    with moments_scope(2, given=scope.moments):
        np.testing.assert_allclose(backbone(images(6)), folded, rtol=1e-3, atol=1e-4)


@basic_backbones
def test_meta_gradient_through_an_inner_step_is_exact(cls, arguments):
    """d/dw of the query loss after one inner step, against differences, in float64."""
    backbone = built(cls, arguments, dtype="float64")
    support, queries = (images(4, seed=s).astype("float64") for s in (0, 1))
    averages = [v.value for v in backbone.non_trainable_variables]

    def loss(weights, x):
        features, _ = backbone.stateless_call(weights, averages, x, training=True)
        return tf.reduce_mean(tf.square(tf.nn.softplus(features) - 0.3))

    def meta_loss(weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = loss(weights, support)
        gradients = tape.gradient(value, weights)
        return loss([w - 0.1 * g for w, g in zip(weights, gradients, strict=True)], queries)

    @tf.function
    def value(weights):
        return meta_loss(weights)

    @tf.function
    def derivative(weights, direction):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            result = meta_loss(weights)
        gradients = tape.gradient(result, weights)
        return tf.add_n([tf.reduce_sum(g * d) for g, d in zip(gradients, direction, strict=True)])

    weights = [v.value for v in backbone.trainable_variables]
    step, rng = 1e-7, np.random.default_rng(0)
    for _ in range(3):
        direction = [tf.constant(rng.normal(size=w.shape)) for w in weights]
        ahead, behind = (
            value([w + sign * step * d for w, d in zip(weights, direction, strict=True)])
            for sign in (1, -1)
        )
        np.testing.assert_allclose(
            derivative(weights, direction), (ahead - behind) / (2 * step), rtol=1e-5
        )


def test_wrong_arguments():
    four_blocks = (Conv4, ResNet12, PreActivationResNet12)
    for cls, filters in itertools.product(four_blocks, [(4, 4, 4), (4, 4, 4, 0), (4, 4, 4, 4.0)]):
        with pytest.raises(ValueError, match=r"filters must be 4 positive ints; received"):
            cls(filters=filters)
    for cls, num_pools in itertools.product(four_blocks, [-1, 5, "all"]):
        with pytest.raises(ValueError, match="num_pools must be an int from 0 to 4"):
            cls(num_pools=num_pools)
    with pytest.raises(ValueError, match="filters must be 4 positive ints"):
        Conv4(filters=0)
    for argument, value in (
        ("order", "bn-pool"),
        ("pool_padding", "full"),
        ("normalization", "layer"),
    ):
        with pytest.raises(ValueError, match=f"{argument} must be one of .*; received '{value}'"):
            Conv4(**{argument: value})
    for depth in (4, 12, 27):
        with pytest.raises(ValueError, match="depth must be 6 k"):
            WideResNet(depth=depth)
    with pytest.raises(ValueError, match="width must be at least 1"):
        WideResNet(width=0)


def test_blocks_do_not_share_their_first_values():
    initializer = keras.initializers.HeUniform()
    backbone = Conv4((8, 8, 4), filters=4, num_pools=2, kernel_initializer=initializer)
    for network in (backbone, Conv4.from_config(backbone.get_config())):
        kernels = [w.numpy() for w in network.trainable_weights if "conv/kernel" in w.path]
        assert all(np.any(kernels[0] != other) for other in kernels[1:])
