"""The signatures of a SavedModel: the learner's own functions, traced for one episode."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from kfsl.learners.base.learner import Learner
from kfsl.serving.input_checks import check_support, with_checked_shapes

Shape = tuple[int | None, int | None, int]
#: Input of `infer` beside the state, whose keys are the method's.
QUERY_FEATURES = "query_features"
#: `infer` among base classes too, which come first.
INFER_JOINTLY = "infer_jointly"
#: Input of `adapt` and `serve_with_steps`, for learners whose number of steps is free.
STEPS = "steps"


def signatures_of(
    learner: Learner, image_shape: Shape, smallest_size: int | None = None
) -> dict[str, Any]:
    """Traces what a learner is served by.

    Each signature looks at the shapes of what it is given before anything else sees it: an image
    of the wrong rank would end the process in the kernel of some layer.

    Args:
        learner: `Learner`.
        image_shape: tuple of height, width and channels; None is free.
        smallest_size: int or None. Least height and width, where they are free.

    Returns:
        dict of names to concrete functions: `serving_default`, `embed`, `adapt`, `infer`,
        `serve_with_steps` where `learner.adapts_in_steps`, and `infer_jointly` where
        `learner.kept_base_classes`.

    Raises:
        ValueError: if a key of the learner's state is no identifier.
    """
    images = tf.TensorSpec((None, *image_shape), tf.uint8)
    labels = tf.TensorSpec((None,), tf.int32)
    episode = {"support_images": images, "support_labels": labels, "query_images": images}
    steps = {STEPS: tf.TensorSpec((), tf.int32)} if learner.adapts_in_steps else {}

    def concrete(function: Callable, **specs: tf.TensorSpec) -> Any:
        smallest = {
            name: smallest_size
            for name, spec in specs.items()
            if smallest_size and spec == tf.TensorSpec(images.shape, images.dtype)
        }
        return _concrete(with_checked_shapes(function, specs, smallest), **specs)

    embed = concrete(_embed(learner), images=images)
    features = _like(embed.structured_outputs["features"])
    adapt = concrete(_adapt(learner), support_features=features, support_labels=labels, **steps)
    state = {name: _like(tensor) for name, tensor in adapt.structured_outputs.items()}
    _check_state(learner, state)
    infer = concrete(_infer(learner.infer), **state, query_features=features)
    signatures = {"embed": embed, "adapt": adapt, "infer": infer}
    if learner.kept_base_classes:
        jointly = _infer(learner.classify_jointly)
        signatures[INFER_JOINTLY] = concrete(jointly, **state, query_features=features)
    if not steps:
        return {"serving_default": concrete(_serve(learner), **episode), **signatures}
    # An inner loop makes a large graph: one copy serves all.
    serve = concrete(_serve_in_turn(embed, adapt, infer), **episode, **steps)
    default = concrete(_with_default_steps(serve, learner.default_steps), **episode)
    return {"serving_default": default, **signatures, "serve_with_steps": serve}


# The served functions are the learner's own; they only add and take away the meta-batch axis.


def _serve(learner: Learner) -> Callable:
    def serve(
        support_images: tf.Tensor, support_labels: tf.Tensor, query_images: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        with tf.control_dependencies(check_support(learner, support_images, support_labels, {})):
            episode = {
                "support_images": support_images[None],
                "support_labels": support_labels[None],
                "query_images": query_images[None],
            }
        support, query = learner.embed_episode(episode, training=False)
        state = learner.adapt(support, episode["support_labels"])
        return {"probabilities": _probabilities(learner.infer(state, query)["logits"][0])}

    return serve


def _serve_in_turn(embed: Any, adapt: Any, infer: Any) -> Callable:
    def serve(
        support_images: tf.Tensor,
        support_labels: tf.Tensor,
        query_images: tf.Tensor,
        steps: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        support = embed(images=support_images)["features"]
        state = adapt(support_features=support, support_labels=support_labels, steps=steps)
        query_features = embed(images=query_images)["features"]
        return {"probabilities": infer(**state, query_features=query_features)["probabilities"]}

    return serve


def _with_default_steps(serve: Any, steps: int | None) -> Callable:
    def serve_default(**episode: tf.Tensor) -> dict[str, tf.Tensor]:
        return serve(**episode, steps=tf.constant(steps, tf.int32))

    return serve_default


def _embed(learner: Learner) -> Callable:
    def embed(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": tf.identity(learner.embed(images[None])[0])}

    return embed


def _adapt(learner: Learner) -> Callable:
    def adapt(
        support_features: tf.Tensor, support_labels: tf.Tensor, **steps: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        checks = check_support(learner, support_features, support_labels, steps)
        with tf.control_dependencies(checks):
            features, labels = support_features[None], support_labels[None]
            steps = {name: tf.identity(value) for name, value in steps.items()}
        state = learner.adapt(features, labels, **steps)
        return {name: tf.convert_to_tensor(value)[0] for name, value in state.items()}

    return adapt


def _infer(answer: Callable) -> Callable:
    def infer(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        query_features = inputs.pop(QUERY_FEATURES)[None]
        state = {name: tensor[None] for name, tensor in inputs.items()}
        logits = answer(state, query_features)["logits"][0]
        return {"logits": tf.cast(logits, tf.float32), "probabilities": _probabilities(logits)}

    return infer


def _probabilities(logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(tf.cast(logits, tf.float32))


def _concrete(function: Callable, **specs: tf.TensorSpec) -> Any:
    named = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}
    return tf.function(function, autograph=False).get_concrete_function(**named)


def _like(tensor: Any) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _check_state(learner: Learner, state: Mapping[str, Any]) -> None:
    for name in state:
        if not name.isidentifier() or name == QUERY_FEATURES:
            raise ValueError(
                f"The state of {type(learner).__name__} has the key {name!r}: a served state "
                f"needs identifiers other than {QUERY_FEATURES!r}."
            )
