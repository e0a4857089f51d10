"""What a run's metadata say of the calls that trained it."""

import math
from typing import Any

import keras
import tensorflow as tf

from kfsl.experiment import Experiment
from kfsl.runs.environment import environment, now
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.process import onednn, threads

#: What each call is remembered by, besides when it began.
TOLD = ("commit", "threads", "onednn", "replicas", "command_line")


def record_session(
    run: RunDirectory, experiment: Experiment, seed: int, *, from_checkpoint: bool
) -> None:
    """Adds this call to the metadata; those of the calls before it stay, as `sessions`.

    Args:
        run: `RunDirectory`.
        experiment: `Experiment`.
        seed: int. Which episodes it draws.
        from_checkpoint: bool. Whether it goes on with what earlier calls trained.
    """
    values = _described(experiment, seed) | environment()
    earlier = run.metadata.get("sessions", [])
    if earlier and not from_checkpoint:
        print(f"{run.path} was begun before and has no checkpoint: training begins anew.")
    changed = [
        f"{name} was {earlier[-1][name]} and is {values[name]}"
        for name in ("threads", "onednn", "replicas")
        if from_checkpoint and earlier and earlier[-1].get(name) not in (None, values[name])
    ]
    if changed:
        print(
            f"Mind that {' and '.join(changed)}: the bits will not be those of a run that was "
            "not interrupted."
        )
    session = {"started": now()} | {name: values[name] for name in TOLD}
    run.update_metadata(values | {"sessions": [*earlier, session]})


def _described(experiment: Experiment, seed: int) -> dict[str, Any]:
    return {
        "learner": type(experiment.learner).__name__,
        "parameters": sum(
            math.prod(weight.shape) for weight in experiment.learner.trainable_weights
        ),
        "dataset": experiment.dataset.name,
        "dataset_fingerprint": experiment.dataset.fingerprint,
        "bn_policy": experiment.learner.bn_policy,
        "transductive": experiment.learner.transductive,
        "seed": seed,
        "threads": threads(),
        "onednn": onednn(),
        "replicas": tf.distribute.get_strategy().num_replicas_in_sync,
        "precision": keras.config.dtype_policy().name,
    }
