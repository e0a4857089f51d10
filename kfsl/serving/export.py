"""The SavedModel of a learner: it takes a support set and queries, and needs no kfsl or Keras."""

from collections.abc import Mapping, Sequence
from typing import Any

from kfsl.calibration.record import Calibration
from kfsl.learners.base.learner import Learner
from kfsl.learners.base.settings import settings_fingerprint
from kfsl.runs.evaluation_record import Evaluation
from kfsl.serving import example, example_of_numbers
from kfsl.serving.check import check_fewer_ways, difference_from_learner
from kfsl.serving.files import CLASSES_FILE
from kfsl.serving.formats import FORMATS
from kfsl.serving.saved_model import variables_of, write_saved_model
from kfsl.serving.traced import traced


def export(
    learner: Learner,
    path: str,
    *,
    image_shape: tuple[int, int, int] | None,
    any_size: bool | None = None,
    training_data: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    weights: str = "",
    calibration: Calibration | None = None,
    evaluations: Sequence[Evaluation] = (),
) -> dict[str, Any]:
    """Writes a learner as a SavedModel that takes new classes without training.

    Its signatures are those of one episode, without meta-batch axis (`docs/serving.md`):

    - `serving_default`: `support_images`, `support_labels`, `query_images` -> `probabilities`.
    - `embed`: `images` -> `features`; `adapt`: `support_features`, `support_labels` -> the
      state; `infer`: the state and `query_features` -> `probabilities`, `logits`.
    - Of a learner of numbers `support_inputs`, `support_targets`, `query_inputs` ->
      `predictions`, and `embed` takes `inputs`.
    - Where `learner.adapts_in_steps`, `adapt` takes `steps` too, and `serve_with_steps` is
      `serving_default` with it; `serving_default` takes the learner's own number of steps.

    Numbers of support and query images are free; so are ways where `learner.ways` is None, and
    height and width where the backbone takes any. There is no support mask: nothing has to be
    padded. Beside the graph lie `model.json` (what the model takes), `classes.json` (what it was
    trained on), `README.md` (the model card) and `example.py`, which uses TensorFlow alone.

    The graph is loaded again and compared with the learner before it takes its place, so that
    an earlier export is replaced by a complete and correct one or not at all.

    Args:
        learner: `Learner`, with its weights.
        path: str. The folder to write; an earlier export there is replaced.
        image_shape: tuple of three ints, height, width and channels of the training images; None
            for a learner of numbers, whose network says what it takes.
        any_size: bool or None. Whether height and width stay free; None finds out.
        training_data: mapping that JSON can hold, or None. What `classes.json` shall say.
        overrides: sequence of str. Bindings in which the learner differs from its training.
        weights: str. SHA-256 of the file that the learner's weights are from, empty if they are
            from none; `model.json` keeps it, so that a later reader knows whose export this is.
        calibration: `Calibration` or None. Its temperature divides the logits within the graph, so
            that probabilities are honest and predictions stay; its threshold stands in
            `model.json`.
        evaluations: sequence of `Evaluation`. What was measured, for the model card; those of
            other weights do not count. Without any the card says that nothing was.

    Returns:
        The description that was written as `model.json`.

    Raises:
        ValueError: if `path` holds something else, the learner's state cannot be served, it takes
            no fewer ways although it says so, or the loaded graph does not give its probabilities.
        OSError: if there is no space for it, or it cannot be written.

    Example:
    ```python
    import tempfile
    import tensorflow as tf
    from kfsl.serving import export as serving
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.prototypical_network import PrototypicalNetwork

    learner = PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2))
    with tempfile.TemporaryDirectory() as folder:
        serving.export(learner, f"{folder}/model", image_shape=(8, 8, 1))
        serve = tf.saved_model.load(f"{folder}/model").signatures["serving_default"]
        episode, _ = EpisodeSpec(ways=3, shots=2, queries=4, image_shape=(8, 8, 1)).random_episode()
        probabilities = serve(
            support_images=tf.constant(episode["support_images"][0]),
            support_labels=tf.constant(episode["support_labels"][0]),
            query_images=tf.constant(episode["query_images"][0]),
        )["probabilities"]
    assert probabilities.shape == (12, 3)
    ```
    """
    FORMATS["saved_model"].check_place(path)
    shape = tuple(image_shape if learner.objective.has_classes else learner.input_shape)
    check_fewer_ways(learner, shape)
    temperature = _temperature(learner, calibration)
    signatures, description = traced(learner, shape, any_size, temperature)
    description.update(
        overrides=list(overrides),
        weights=weights,
        settings=settings_fingerprint(learner),
        calibration=None if calibration is None else calibration.served(),
    )

    def difference(folder: str) -> float:
        free = description["inputs"]["shape"] != list(shape)
        return difference_from_learner(learner, folder, shape, free, temperature)

    script = example if learner.objective.has_classes else example_of_numbers
    beside = {CLASSES_FILE: training_data or {}}
    return write_saved_model(
        path,
        variables_of(learner),
        signatures,
        description,
        difference,
        beside,
        script.__file__,
        evaluations,
    )


def _temperature(learner: Learner, calibration: Calibration | None) -> float:
    if calibration is None:
        return 1.0
    if not learner.objective.has_classes:
        raise ValueError(
            f"{type(learner).__name__} answers with numbers: there are no probabilities that a "
            "calibration could be of. Leave it out."
        )
    return calibration.temperature
