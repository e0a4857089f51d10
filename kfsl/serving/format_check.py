"""Runs the files of another format, and compares what they answer with the SavedModel's."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.episodes import QUERY_IMAGES, SUPPORT_IMAGES, SUPPORT_LABELS, EpisodeSpec
from kfsl.learners.base.learner import Learner
from kfsl.objectives.classification import ABSENT
from kfsl.serving.check import OTHER_SIZE, serves_fewer_ways
from kfsl.serving.signatures import INFER_JOINTLY
from kfsl.serving.unconvertible import UnconvertibleError

#: Of answers; of features, states and logits where they are of size 1.
TOLERANCE = 1e-4
#: Smaller ones are held to the accuracy of numbers of that size.
SMALLEST = 0.1

Arrays = dict[str, np.ndarray]


def difference_between(
    learner: Learner,
    title: str,
    image_shape: tuple[int, int, int],
    any_size: bool,
    reference: Mapping[str, Any],
    found: Mapping[str, Any],
) -> float:
    """Asks both about random episodes of several ways, shots and numbers of queries.

    What one signature of a format gives, its next one gets: as it is used.

    Args:
        learner: `Learner`. Its ways and shots count.
        title: str. The format, for messages.
        image_shape: tuple of three ints. Of the training images.
        any_size: bool. Whether to compare on images of another size too.
        reference: mapping, signatures of the SavedModel, functions of tensors by name.
        found: mapping, signatures of the format, functions of arrays by name.

    Returns:
        The largest difference of a probability.

    Raises:
        UnconvertibleError: if a file does not run.
        ValueError: if something differs by more than 1e-4, or labels that do not fit are answered
            with numbers.
    """
    name = type(learner).__name__
    ours = {each: _of_tensors(reference[each]) for each in found}
    theirs = {each: _told_in_words(found[each], each) for each in found}
    largest = 0.0
    for episode in _episodes(learner, image_shape, any_size):
        expected, answered = _answers(ours, episode), _answers(theirs, episode)
        for key, value in expected.items():
            largest = max(largest, _difference(f"{name} as {title}", key, answered[key], value))
    _check_wrong_labels(theirs, _episode(learner, image_shape, 1), f"{name} as {title}")
    return largest


def _episodes(
    learner: Learner, image_shape: tuple[int, int, int], any_size: bool
) -> Iterator[Arrays]:
    yield _episode(learner, image_shape, 1)
    yield _episode(learner, image_shape, 2)
    if any_size:
        height, width, channels = image_shape
        yield _episode(learner, (height + OTHER_SIZE, width + OTHER_SIZE + 2, channels), 2)


def _episode(learner: Learner, image_shape: tuple[int, int, int], number: int) -> Arrays:
    """One of several sizes: 1 and 2 differ in shots, queries, and ways where they may."""
    ways = 2 * number + 1
    if learner.ways is not None:
        ways = learner.ways - (number - 1) * serves_fewer_ways(learner)
    shots = number + learner.smallest_shots - 1
    spec = EpisodeSpec(ways, shots, number + 1, tuple(image_shape))
    episode, _ = spec.random_episode(seed=number)
    names = (SUPPORT_IMAGES, SUPPORT_LABELS, QUERY_IMAGES)
    return {name: np.asarray(episode[name][0]) for name in names}


def _answers(signatures: Mapping[str, Any], episode: Arrays) -> dict[tuple[str, str], np.ndarray]:
    """What each signature answers, by its name and the output's."""
    labels = {SUPPORT_LABELS: episode[SUPPORT_LABELS]}
    embed, adapt = signatures["embed"], signatures["adapt"]
    support = embed(images=episode[SUPPORT_IMAGES])["features"]
    query = embed(images=episode[QUERY_IMAGES])["features"]
    state = adapt(support_features=support, **labels)
    outputs = {"embed": {"features": query}, "adapt": state}
    for name in ("infer", INFER_JOINTLY):
        if name in signatures:
            outputs[name] = signatures[name](**state, query_features=query)
    if "serving_default" in signatures:
        outputs["serving_default"] = signatures["serving_default"](**episode)
    return {(name, key): value for name, each in outputs.items() for key, value in each.items()}


def _difference(what: str, key: tuple[str, str], found: np.ndarray, expected: np.ndarray) -> float:
    """How far probabilities are apart; what is too far in any output is refused."""
    told = f"{what} differs from the SavedModel: {key[1]} of {key[0]!r}"
    if found.shape != expected.shape:
        raise ValueError(
            f"{told} has the shape {found.shape}, not {expected.shape}. Nothing was written; "
            "export it as a SavedModel: --format=saved_model."
        )
    if expected.dtype.kind != "f":
        gap, allowed = float(np.max(found != expected, initial=0)), 0.0
    else:
        # Classes without support image have a logit far below all others, which is no size.
        absent = expected <= ABSENT / 2
        gap = np.max(np.abs(np.where(absent, 0.0, found.astype("float64") - expected)), initial=0)
        size = float(np.max(np.abs(np.where(absent, 0.0, expected)), initial=0))
        allowed = TOLERANCE if key[1] == "probabilities" else TOLERANCE * max(SMALLEST, size)
        if np.any((found <= ABSENT / 2) != absent):
            gap = np.inf
    if not gap <= allowed:
        raise ValueError(
            f"{told} by {gap:.2g} where {allowed:.2g} is allowed. Nothing was written; export it "
            "as a SavedModel: --format=saved_model."
        )
    return float(gap) if key[1] == "probabilities" else 0.0


def _check_wrong_labels(signatures: Mapping[str, Any], episode: Arrays, what: str) -> None:
    """Holds the files to what is promised of labels that do not fit: no number is an answer."""
    for wrong in (-1, len(episode[SUPPORT_LABELS])):
        labels = episode[SUPPORT_LABELS].copy()
        labels[0] = wrong
        answers = _answers(signatures, {**episode, SUPPORT_LABELS: labels})
        for (name, key), value in answers.items():
            if key == "probabilities" and not np.isnan(value).all():
                raise ValueError(
                    f"{what} answers the support label {wrong} with numbers in {name!r}. Nothing "
                    "was written; export it as a SavedModel: --format=saved_model."
                )


def _of_tensors(signature: Any) -> Any:
    def run(**inputs: np.ndarray) -> Arrays:
        given = {name: tf.constant(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in signature(**given).items()}

    return run


def _told_in_words(signature: Any, name: str) -> Any:
    def run(**inputs: np.ndarray) -> Arrays:
        try:
            return signature(**inputs)
        except Exception as error:  # Each runtime has errors of its own.
            reason = " ".join(str(error).split())
            raise UnconvertibleError(
                [], f"{name!r} was converted and does not run: {reason}"
            ) from error

    return run
