"""Heads on a frozen network: nothing is trained, but base images are looked at."""

import keras
import numpy as np
import pytest

from kfsl.backbones.conv4 import Conv4
from kfsl.learners.simple_shot import SimpleShot
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.process import set_up
from kfsl.training.train import train
from kfsl.training.training_episodes import base_images
from tests.support import letters


def session(store, path, **arguments):
    set_up(seed=1, deterministic=False)
    run = RunDirectory(path)
    run.start("WAYS = 3\n")
    keras.utils.set_random_seed(1)
    learner = SimpleShot(Conv4(image_shape=letters.SHAPE, filters=4, num_pools=2))
    experiment = letters.experiment(store, learner=learner)
    return train(experiment, run, **{"epochs": 0, "validation_episodes": 4, **arguments})


def test_no_epochs_are_a_run_whose_centre_is_that_of_base_images(store, tmp_path):
    path = str(tmp_path / "run")
    logs = session(store, path).fit()
    assert logs["val_accuracy"] > 0
    run = RunDirectory(path)
    assert run.metadata["steps"] == 0
    learner = keras.saving.load_model(run.best_learner)
    dataset = letters.letters(store)
    train_split = dataset.split("train")
    images = np.concatenate(
        [
            dataset.store.images[first : first + count]
            for first, count in zip(train_split.offsets, train_split.counts, strict=True)
        ]
    )
    # A last batch that is not full is left out.
    kept = len(images) // min(50, len(images)) * min(50, len(images))
    seen = np.concatenate(list(base_images(letters.experiment(store, learner=learner), 2000)))
    assert len(seen) == kept > 0
    assert len(np.unique(seen.reshape(kept, -1), axis=0)) == kept
    features = np.asarray(learner.embed(seen[None])).mean(axis=(2, 3))[0]
    assert np.ptp(features) > 0
    np.testing.assert_allclose(learner.center, features.mean(axis=0), atol=1e-5)
    assert session(store, path).done


def test_epochs_of_what_is_frozen_are_refused(store, tmp_path):
    with pytest.raises(ValueError, match=r"train.epochs = 2, and this learner has nothing to trai"):
        session(store, str(tmp_path / "run"), epochs=2)
