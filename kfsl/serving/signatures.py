"""The signatures of a SavedModel: the learner's own functions, traced for one episode."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from kfsl.learners.base.learner import Learner
from kfsl.serving.input_checks import check_support, with_checked_shapes
from kfsl.serving.label_marks import mark_in, marked, usable_labels

Shape = tuple[int | None, ...]
#: Input of `infer` beside the state, whose keys are the method's.
QUERY_FEATURES = "query_features"
#: `infer` among base classes too, which come first.
INFER_JOINTLY = "infer_jointly"
#: Input of `adapt` and `serve_with_steps`, for learners whose number of steps is free.
STEPS = "steps"


def signatures_of(
    learner: Learner,
    input_shape: Shape,
    smallest_size: int | None = None,
    temperature: float = 1.0,
    checked: bool = True,
) -> dict[str, Any]:
    """Traces what a learner is served by.

    Each signature looks at the shapes of what it is given before anything else sees it: an image
    of the wrong rank would end the process in the kernel of some layer.

    Args:
        learner: `Learner`.
        input_shape: tuple, of images height, width and channels; None is free.
        smallest_size: int or None. Least height and width, where they are free.
        temperature: float. Divides the logits of a classifier.
        checked: bool. Whether the graph refuses what does not fit. Without, as formats need it
            that cannot refuse, the state and the answers to labels that do not fit are NaN.

    Returns:
        dict of names to concrete functions: `serving_default`, `embed`, `adapt`, `infer`,
        `serve_with_steps` where `learner.adapts_in_steps`, and `infer_jointly` where
        `learner.kept_base_classes`.

    Raises:
        ValueError: if a key of the learner's state is no identifier.
    """
    objective = learner.objective
    images = tf.TensorSpec((None, *input_shape), objective.input_dtype)
    labels = tf.TensorSpec((None, *objective.target_shape), objective.target_dtype)
    targets = objective.support_targets
    episode = {objective.support_inputs: images, targets: labels, objective.query_inputs: images}
    steps = {STEPS: tf.TensorSpec((), tf.int32)} if learner.adapts_in_steps else {}

    def concrete(function: Callable, **specs: tf.TensorSpec) -> Any:
        smallest = {
            name: smallest_size
            for name, spec in specs.items()
            if smallest_size and spec == tf.TensorSpec(images.shape, images.dtype)
        }
        if checked:
            function = with_checked_shapes(function, specs, smallest)
        return concrete_function(function, **specs)

    embed = concrete(_embed(learner), **{objective.embedded: images})
    features = _like(embed.structured_outputs["features"])
    adapt = _adapt(learner) if checked else _adapt_unchecked(learner)
    adapt = concrete(adapt, support_features=features, **{targets: labels}, **steps)
    state = {name: _like(tensor) for name, tensor in adapt.structured_outputs.items()}
    _check_state(learner, state)
    infer = _infer(learner, learner.infer, temperature, checked)
    infer = concrete(infer, **state, query_features=features)
    signatures = {"embed": embed, "adapt": adapt, "infer": infer}
    if learner.kept_base_classes:
        jointly = _infer(learner, learner.classify_jointly, temperature, checked)
        signatures[INFER_JOINTLY] = concrete(jointly, **state, query_features=features)
    # One copy of a graph, which may have an inner loop, serves all.
    serve = concrete(_serve(learner, embed, adapt, infer), **episode, **steps)
    if not steps:
        return {"serving_default": serve, **signatures}
    default = concrete(_with_default_steps(serve, learner.default_steps), **episode)
    return {"serving_default": default, **signatures, "serve_with_steps": serve}


# The served functions are the learner's own; they only add and take away the meta-batch axis.


def _serve(learner: Learner, embed: Any, adapt: Any, infer: Any) -> Callable:
    objective = learner.objective
    answer = objective.answer

    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        support, query = (
            embed(**{objective.embedded: inputs.pop(name)})["features"]
            for name in (objective.support_inputs, objective.query_inputs)
        )
        # What is left are targets, and steps where they are free.
        state = adapt(support_features=support, **inputs)
        return {answer: infer(**state, query_features=query)[answer]}

    return serve


def _with_default_steps(serve: Any, steps: int | None) -> Callable:
    def serve_default(**episode: tf.Tensor) -> dict[str, tf.Tensor]:
        return serve(**episode, steps=tf.constant(steps, tf.int32))

    return serve_default


def _embed(learner: Learner) -> Callable:
    def embed(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        (images,) = inputs.values()
        return {"features": tf.identity(learner.embed(images[None])[0])}

    return embed


def _adapt(learner: Learner) -> Callable:
    def adapt(support_features: tf.Tensor, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        targets = inputs.pop(learner.objective.support_targets)
        steps = inputs
        with tf.control_dependencies(check_support(learner, support_features, targets, steps)):
            features, labels = support_features[None], targets[None]
            steps = {name: tf.identity(value) for name, value in steps.items()}
        state = learner.adapt(features, labels, **steps)
        return {name: tf.convert_to_tensor(value)[0] for name, value in state.items()}

    return adapt


def _adapt_unchecked(learner: Learner) -> Callable:
    def adapt(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        features = inputs.pop("support_features")
        targets = inputs.pop(learner.objective.support_targets)
        targets, mark = usable_labels(learner, features, targets)
        state = learner.adapt(features[None], targets[None], **inputs)
        state = {name: tf.convert_to_tensor(value)[0] for name, value in state.items()}
        return {name: marked(value, mark) for name, value in state.items()}

    return adapt


def _infer(learner: Learner, answer: Callable, temperature: float, checked: bool) -> Callable:
    objective = learner.objective

    def infer(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        query_features = inputs.pop(QUERY_FEATURES)[None]
        state = {name: tensor[None] for name, tensor in inputs.items()}
        outputs = answer(state, query_features)[objective.output][0]
        if temperature != 1.0:
            # In single precision, whatever the learner computes in: as its logits are served.
            outputs = tf.cast(outputs, tf.float32) / temperature
        served = objective.served(outputs)
        if checked:
            return served
        # A class that is not there is masked, and so might all be.
        mark = mark_in(inputs)
        return {name: marked(value, mark) for name, value in served.items()}

    return infer


def concrete_function(function: Callable, **specs: tf.TensorSpec) -> Any:
    """A function of tensors by name, traced for some shapes."""
    named = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}
    return tf.function(function, autograph=False).get_concrete_function(**named)


def named_specs(function: Any) -> dict[str, tf.TensorSpec]:
    """Shapes and types of the inputs of a function that `concrete_function` traced."""
    return {spec.name: spec for spec in tf.nest.flatten(function.structured_input_signature)}


def _like(tensor: Any) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _check_state(learner: Learner, state: Mapping[str, Any]) -> None:
    for name in state:
        if not name.isidentifier() or name == QUERY_FEATURES:
            raise ValueError(
                f"The state of {type(learner).__name__} has the key {name!r}: a served state "
                f"needs identifiers other than {QUERY_FEATURES!r}."
            )
