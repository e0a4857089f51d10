"""Finds out by trying what a learner can be served with, and whether its graph is right."""

from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.command_line.command import one_line
from kfsl.learners.base.learner import Learner
from kfsl.serving.signatures import INFER_JOINTLY, STEPS

#: Of the answers, where the outputs are of size 1; half precision rounds coarser.
TOLERANCES = {"float64": 1e-5, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1e-1}
#: Smaller outputs are held to the accuracy of outputs of that size. In float32 an error of 1e-6
#: is left to them, which moves no probability by more; a wrong graph moves them by their own size.
SMALLEST_OUTPUTS = 0.1
OTHER_SIZE = 5
REFUSALS = (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


def takes_another_size(learner: Learner, image_shape: tuple[int, int, int]) -> bool:
    """Whether a learner works on images of another size than those of its training.

    Numbers have one size.

    Args:
        learner: `Learner`.
        image_shape: tuple of three ints. Height, width and channels of the training images.

    Returns:
        True if its backbone says so, or it has none, and a larger image succeeds.
    """
    if not learner.objective.has_classes:
        return False
    declared = getattr(getattr(learner, "backbone", None), "image_shape", (None, None))
    if any(size is not None for size in declared[:2]):
        return False
    try:
        logits = learner(_episode(learner, _larger(image_shape)))["logits"]
    except REFUSALS:
        return False
    return bool(np.isfinite(logits).all())


def check_fewer_ways(learner: Learner, image_shape: tuple[int, int, int]) -> None:
    """Holds a learner to its word that it takes fewer classes than its `ways`.

    Args:
        learner: `Learner`.
        image_shape: tuple of three ints.

    Raises:
        ValueError: if it says so, and fails or gives a class without support images a
            probability.
    """
    if not serves_fewer_ways(learner) or learner.ways is None:
        return
    episode = _episode(learner, image_shape, ways=learner.ways - 1)
    name, remedy = type(learner).__name__, "set its takes_fewer_ways = False"
    try:
        probabilities = tf.nn.softmax(learner(episode, training=False)["logits"])[0].numpy()
    except REFUSALS as error:
        raise ValueError(
            f"{name} says that it takes fewer than its {learner.ways} ways, and refuses an "
            f"episode of {learner.ways - 1}: {one_line(error)} Mend it, or {remedy}."
        ) from error
    # Of another width, its last column is no class without support images.
    if probabilities.shape[-1] != learner.ways or not probabilities[:, -1].max() < 1e-6:
        raise ValueError(
            f"{name} says that it takes fewer than its {learner.ways} ways, but a class without "
            f"support images gets a probability of {probabilities[:, -1].max():.2g}. Give it "
            f"none, with mask_absent, or {remedy}."
        )


def serves_fewer_ways(learner: Learner) -> bool:
    """Whether a served learner can be given fewer classes than it has columns for.

    Args:
        learner: `Learner`. What it declares counts; `check_fewer_ways` holds it to it.

    Returns:
        bool. False for two ways: one class is no task; and where there are no classes.
    """
    if not learner.objective.has_classes:
        return False
    return learner.ways is None or (learner.ways > 2 and learner.takes_fewer_ways)


def smallest_size(learner: Learner, image_shape: tuple[int, int, int]) -> int:
    """The least height and width, in pixels, that leave anything for the backbone to see.

    Args:
        learner: `Learner`.
        image_shape: tuple of three ints.

    Returns:
        int, 1 for a learner without backbone.
    """
    if not hasattr(learner, "backbone"):
        return 1
    for size in range(1, min(image_shape[:2])):
        try:
            learner.backbone.compute_output_shape((1, size, size, image_shape[2]))
        except REFUSALS:
            continue
        return size
    return min(image_shape[:2])


def difference_from_learner(
    learner: Learner,
    path: str,
    input_shape: tuple[int, ...],
    any_size: bool,
    temperature: float = 1.0,
) -> float:
    """Loads a SavedModel and compares its answers with the learner's.

    Args:
        learner: `Learner`.
        path: str. The folder of the SavedModel.
        input_shape: tuple of ints. Of one input.
        any_size: bool. Whether to compare on images of another size too.
        temperature: float. By which the graph divides logits.

    Returns:
        The largest difference of an answer that was found.

    Raises:
        ValueError: if it is more than rounding.
    """
    loaded = tf.saved_model.load(path)
    sizes = [input_shape, _larger(input_shape)] if any_size else [input_shape]
    largest = 0.0
    for number, shape in enumerate(sizes):
        ways = (learner.ways or 3 + number) if learner.objective.has_classes else None
        episode = _episode(learner, shape, ways=ways, shots=1 + number)
        for steps in _steps_to_compare(learner):
            served = _served(learner, loaded.signatures, episode, steps)
            found = _difference(learner, episode, steps, served, temperature)
            largest = max(largest, found)
    return largest


def _steps_to_compare(learner: Learner) -> list[int | None]:
    """None is the learner's own number, which `serving_default` takes."""
    if not learner.adapts_in_steps:
        return [None]
    return [None, 1 if learner.default_steps > 1 else learner.default_steps + 1]


def _served(
    learner: Learner, signatures: Any, episode: dict[str, np.ndarray], steps: int | None
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The answers of the whole, and what `infer` says after `embed` and `adapt`."""
    objective = learner.objective
    inputs = {name: tf.constant(value[0]) for name, value in episode.items()}
    if steps is None:
        whole = signatures["serving_default"](**inputs)
    else:
        whole = signatures["serve_with_steps"](**inputs, steps=tf.constant(steps))
    chosen = {}
    if learner.adapts_in_steps:
        chosen[STEPS] = tf.constant(learner.default_steps if steps is None else steps)
    support, query = (
        signatures["embed"](**{objective.embedded: inputs[name]})["features"]
        for name in (objective.support_inputs, objective.query_inputs)
    )
    targets = {objective.support_targets: inputs[objective.support_targets]}
    state = signatures["adapt"](support_features=support, **targets, **chosen)
    inferred = signatures["infer"](**state, query_features=query)
    if learner.kept_base_classes:
        jointly = signatures[INFER_JOINTLY](**state, query_features=query)
        inferred[INFER_JOINTLY] = jointly["logits"]
    return whole[objective.answer], inferred


def _difference(
    learner: Learner,
    episode: dict[str, np.ndarray],
    steps: int | None,
    served: tuple[tf.Tensor, dict[str, tf.Tensor]],
    temperature: float,
) -> float:
    """The largest difference of an answer; what is more than rounding is refused."""
    objective = learner.objective
    outputs = _outputs(learner, episode, steps) / temperature
    answers = np.asarray(objective.prediction(outputs))
    size = float(np.max(np.abs(outputs)))
    tolerance = TOLERANCES[learner.compute_dtype]
    whole, inferred = served
    signature = "serving_default" if steps is None else f"serve_with_steps(steps={steps})"
    name = objective.answer
    # Outputs are sums of larger terms, whose rounding stays when they cancel.
    strict = tolerance * max(SMALLEST_OUTPUTS, size)
    compared = [
        (f"{signature}'s {name}", whole, answers, tolerance * max(1.0, size)),
        (f"infer's {name}", inferred[name], answers, tolerance * max(1.0, size)),
    ]
    if "logits" in inferred:
        compared.append(("infer's logits", inferred["logits"], outputs, strict))
    if INFER_JOINTLY in inferred:
        joint = _joint_logits(learner, episode) / temperature
        allowed = tolerance * max(SMALLEST_OUTPUTS, float(np.max(np.abs(joint))))
        compared.append((f"{INFER_JOINTLY}'s logits", inferred[INFER_JOINTLY], joint, allowed))
    for name, found, expected, allowed in compared:
        difference = float(np.max(np.abs(found.numpy() - expected)))
        if not difference <= allowed:
            raise ValueError(
                f"The exported graph of {type(learner).__name__} differs from the learner: "
                f"{name} by {difference:.2g} where {allowed:.2g} is rounding, inputs "
                f"{episode[objective.query_inputs].shape[2:]}. Nothing was written. A method can "
                "not be served if its state hides in attributes, or if adapt draws other random "
                "numbers at each call: it has to draw from its seed, and without one always the "
                "same."
            )
    return float(np.max(np.abs(whole.numpy() - answers)))


def _outputs(learner: Learner, episode: dict[str, np.ndarray], steps: int | None) -> np.ndarray:
    objective = learner.objective
    if steps is None:
        return learner(episode, training=False)[objective.output][0].numpy()
    support, query = learner.embed_episode(episode, training=False)
    state = learner.adapt(support, episode[objective.support_targets], steps=steps)
    return learner.infer(state, query)[objective.output][0].numpy()


def _joint_logits(learner: Learner, episode: dict[str, np.ndarray]) -> np.ndarray:
    support, query = learner.embed_episode(episode, training=False)
    return learner.answer(support, query, episode, joint=True)["logits"][0].numpy()


def _episode(
    learner: Learner, input_shape: tuple[int, ...], ways: int | None = None, shots: int = 1
) -> dict[str, np.ndarray]:
    objective = learner.objective
    shots += learner.smallest_shots - 1
    episode, _ = objective.random_episode(input_shape, ways=ways, shots=shots)
    served = (objective.support_inputs, objective.support_targets, objective.query_inputs)
    return {name: episode[name] for name in served}


def _larger(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    height, width, channels = image_shape
    return height + OTHER_SIZE, width + OTHER_SIZE + 2, channels
