"""Runs a SavedModel where neither kfsl nor Keras can be imported.

python saved_model_process.py MODEL EPISODE.npz   writes EPISODE.probabilities.npy, and, where the
                                                  episode has steps, EPISODE.with_steps.npy
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

    # The signatures do not keep the variables alive; the loaded object does.
    loaded = tf.saved_model.load(model)
    inputs = {name: tf.constant(value) for name, value in np.load(episode).items()}
    path, steps = episode.removesuffix(".npz"), inputs.pop("steps", None)
    probabilities = loaded.signatures["serving_default"](**inputs)["probabilities"]
    np.save(f"{path}.probabilities.npy", probabilities)
    if steps is not None:
        serve = loaded.signatures["serve_with_steps"]
        np.save(f"{path}.with_steps.npy", serve(**inputs, steps=steps)["probabilities"])


if __name__ == "__main__":
    main()
