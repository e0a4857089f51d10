"""Runs a SavedModel where neither kfsl nor Keras can be imported.

python saved_model_process.py MODEL EPISODE.npz   writes EPISODE.probabilities.npy
python saved_model_process.py EXAMPLE.py          runs the script
"""

import runpy
import sys

BLOCKED = ("kfsl", "keras", "tf_keras", "data_pipelines")


# What is None here cannot be imported and is not found either.
sys.modules.update(dict.fromkeys(BLOCKED))


def main() -> None:
    if sys.argv[1].endswith(".py"):
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        write_probabilities(*sys.argv[1:])
    assert all(sys.modules[name] is None for name in BLOCKED)


def write_probabilities(model: str, episode: str) -> None:
    import numpy as np
    import tensorflow as tf

    serve = tf.saved_model.load(model).signatures["serving_default"]
    inputs = {name: tf.constant(value) for name, value in np.load(episode).items()}
    np.save(episode.removesuffix(".npz") + ".probabilities.npy", serve(**inputs)["probabilities"])


if __name__ == "__main__":
    main()
