"""Runs of gradient-based learners as training leaves them, but for the training."""

import keras

from kfsl import configurables
from kfsl.learners.maml import MAML
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters

EXTRA = "Experiment.learner = @letters_maml()\nletters_maml.steps = {steps}\n"


@configurables.register
def letters_maml(steps: int = 2, seed: int = 0, gradient_noise: float = 0.0) -> MAML:
    keras.utils.set_random_seed(seed)
    # A network that compiles in no time: these runs are about the analyses.
    images = keras.Input(letters.SHAPE)
    features = keras.layers.Conv2D(4, 3, 2, activation="relu")(images)
    return MAML(
        keras.Model(images, features),
        ways=3,
        steps=steps,
        inner_rate=0.1,
        gradient_noise=gradient_noise,
    )


def maml_run(path: str, store: str, steps: int = 2, seed: int = 0) -> RunDirectory:
    """A run directory of MAML whose best learner has the weights that `seed` draws."""
    run = letters.trained_run(path, store, extra=EXTRA.format(steps=steps))
    letters_maml(steps, seed).save(run.best_learner)
    return run
