"""The SavedModel of a policy: it acts, and adapts to what it earned."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.reinforcement import example_of_policies
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.runs.environment import environment, now
from kfsl.runs.evaluation_record import Evaluation
from kfsl.serving.about import about
from kfsl.serving.check import TOLERANCES
from kfsl.serving.files import CLASSES_FILE, FORMAT_VERSION
from kfsl.serving.formats import FORMATS
from kfsl.serving.input_checks import with_checked_shapes
from kfsl.serving.saved_model import variables_of, write_saved_model, written_spec
from kfsl.serving.signatures import concrete_function

#: Rows that the loaded graph is tried with.
ROWS = 7


def export_policy(
    experiment: PolicyExperiment,
    path: str,
    overrides: Sequence[str] = (),
    evaluations: Sequence[Evaluation] = (),
) -> dict[str, Any]:
    """Writes a policy as a SavedModel that needs neither kfsl nor Keras.

    Its signatures (`docs/regression_and_rl.md`):

    - `start`: nothing -> the state of the policy before any update.
    - `act`: the state and `observations` -> `means`, `deviations` of actions.
    - `adapt`: the state, `observations`, `actions` and `advantages` -> the state after an update.
    - `serving_default`: as `act`, before any update: `observations` alone.

    Args:
        experiment: `PolicyExperiment`.
        path: str. The folder to write; an earlier export there is replaced.
        overrides: sequence of str. Bindings in which the learner differs from its training.
        evaluations: sequence of `Evaluation`. What was measured, for the model card.

    Returns:
        The description that was written as `model.json`.

    Raises:
        ValueError: if `path` holds something else, or the loaded graph differs from the learner.
        OSError: if there is no space for it, or it cannot be written.
    """
    FORMATS["saved_model"].check_place(path)
    learner = experiment.learner
    signatures = policy_signatures(learner)
    state = {name: written_spec(t) for name, t in sorted(_state_of(signatures).items())}
    description = {
        "format_version": FORMAT_VERSION,
        "learner": type(learner).__name__,
        "objective": type(learner.objective).__name__,
        "bn_policy": learner.bn_policy,
        "transductive": learner.transductive,
        "image": None,
        "ways": {"fixed": None, "fewer": False},
        "policy": {"observation": learner.input_shape[0], "action": learner.objective.actions},
        "steps": {"default": learner.default_steps, "free": False},
        "state": state,
        "config": keras.saving.serialize_keras_object(learner),
        "about": about(learner),
        "versions": environment()["versions"],
        "exported": now(),
        "overrides": list(overrides),
        "weights": experiment.weights,
    }
    trained_in = {
        "environment": experiment.environment.name,
        "fingerprint": experiment.environment.fingerprint,
    }
    return write_saved_model(
        path,
        variables_of(learner),
        signatures,
        description,
        lambda folder: difference_from_policy(learner, folder),
        {CLASSES_FILE: trained_in},
        example_of_policies.__file__,
        evaluations,
    )


def policy_signatures(learner: GradientLearner) -> dict[str, Any]:
    """Traces what a policy is served by.

    Args:
        learner: `GradientLearner`, whose objective is `PolicyGradient`.

    Returns:
        dict of names to concrete functions.
    """
    objective, keys = learner.objective, learner.adapted_network.keys

    def start() -> dict[str, Any]:
        return {key: tf.identity(value) for key, value in begun().items()}

    def begun() -> dict[str, Any]:
        return learner.adapted_network.start({}, None)

    def distribution(state: dict[str, Any], observations: Any) -> dict[str, Any]:
        outputs = learner.infer_task(state, observations)
        means, logs = objective.moments(outputs)
        return {"means": tf.identity(means), "deviations": tf.exp(logs)}

    def act(observations: Any, **state: Any) -> dict[str, Any]:
        return distribution(state, observations)

    def default(observations: Any) -> dict[str, Any]:
        return distribution(begun(), observations)

    def adapt(observations: Any, actions: Any, advantages: Any, **state: Any) -> dict[str, Any]:
        rows = [tf.shape(each)[0] for each in (observations, actions, advantages)]
        message = "One action and one advantage for each observation is needed, and one or more."
        checks = [tf.debugging.assert_equal(rows[0], each, message) for each in rows[1:]]
        checks.append(tf.debugging.assert_positive(rows[0], message))
        with tf.control_dependencies(checks):
            targets = tf.concat([actions, advantages[:, None]], axis=-1)
        found, _ = learner.adapt_task(observations, targets, start=state)
        return {key: tf.identity(found[key]) for key in keys}

    observations = tf.TensorSpec((None, *learner.input_shape), tf.float32)
    experience = {
        "observations": observations,
        "actions": tf.TensorSpec((None, objective.actions), tf.float32),
        "advantages": tf.TensorSpec((None,), tf.float32),
    }
    started = _concrete(start)
    state = {k: tf.TensorSpec(t.shape, t.dtype) for k, t in started.structured_outputs.items()}
    return {
        "start": started,
        "act": _concrete(act, **state, observations=observations),
        "adapt": _concrete(adapt, **state, **experience),
        "serving_default": _concrete(default, observations=observations),
    }


def difference_from_policy(learner: GradientLearner, path: str) -> float:
    """Loads a SavedModel and compares what it does with the learner.

    Args:
        learner: `GradientLearner`.
        path: str. The folder of the SavedModel.

    Returns:
        The largest difference of a mean or a deviation, before and after an update.

    Raises:
        ValueError: if it is more than rounding.
    """
    served = tf.saved_model.load(path).signatures
    rng, objective = np.random.default_rng(0), learner.objective
    seen, actions, advantages = (
        rng.normal(size=(ROWS, *shape)).astype("float32")
        for shape in (learner.input_shape, (objective.actions,), ())
    )
    state, started = learner.adapted_network.start({}, None), served["start"]()
    targets = np.concatenate([actions, advantages[:, None]], axis=-1)
    adapted, _ = learner.adapt_task(tf.constant(seen), tf.constant(targets), start=state)
    given = {"observations": seen, "actions": actions, "advantages": advantages}
    given = {name: tf.constant(value) for name, value in given.items()}
    found_gaps = []
    for ours, theirs in ((state, started), (adapted, served["adapt"](**started, **given))):
        means, logs = objective.moments(learner.infer_task(ours, tf.constant(seen)))
        found = served["act"](**theirs, observations=tf.constant(seen))
        pairs = ((means, found["means"]), (tf.exp(logs), found["deviations"]))
        found_gaps += [float(tf.reduce_max(tf.abs(a - b))) for a, b in pairs]
    largest = float(np.max(found_gaps))  # Of what is no number, none.
    allowed = TOLERANCES[learner.compute_dtype] * max(1.0, float(tf.reduce_max(tf.abs(means))))
    if not largest <= allowed:
        raise ValueError(
            f"The exported policy of {type(learner).__name__} differs from the learner by "
            f"{largest:.2g} where {allowed:.2g} is rounding. Nothing was written."
        )
    return largest


def _state_of(signatures: dict[str, Any]) -> dict[str, Any]:
    return signatures["start"].structured_outputs


def _concrete(function: Callable, **specs: tf.TensorSpec) -> Any:
    checked = with_checked_shapes(function, specs, {}) if specs else function
    return concrete_function(checked, **specs)
