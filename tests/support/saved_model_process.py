"""Runs a SavedModel where neither kfsl nor Keras can be imported.

python saved_model_process.py             reads lines, `MODEL EPISODE.npz` as a JSON list; for each
                                          it writes EPISODE.answers.npy, and, where the
                                          episode has steps, EPISODE.with_steps.npy, and answers
                                          with a line, the error's text or nothing, as JSON
python saved_model_process.py EXAMPLE.py  runs the script
"""

import json
import runpy
import sys
import traceback

BLOCKED = ("kfsl", "keras", "tf_keras", "data_pipelines")


# What is None here cannot be imported and is not found either.
sys.modules.update(dict.fromkeys(BLOCKED))


def main() -> None:
    if sys.argv[1:]:
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")
        check_blocked()
        return
    for line in sys.stdin:
        error = ""
        try:
            write_answers(*json.loads(line))
            check_blocked()
        except Exception:
            error = traceback.format_exc()
        print(json.dumps(error), flush=True)


def check_blocked() -> None:
    assert all(sys.modules[name] is None for name in BLOCKED)


def write_answers(model: str, episode: str) -> None:
    import numpy as np
    import tensorflow as tf

    # The signatures do not keep the variables alive; the loaded object does.
    loaded = tf.saved_model.load(model)
    inputs = {name: tf.constant(value) for name, value in np.load(episode).items()}
    path, steps = episode.removesuffix(".npz"), inputs.pop("steps", None)
    # Images alone: a classifier has its support set inside.
    whole = "classify" if set(inputs) == {"images"} else "serving_default"
    (answers,) = loaded.signatures[whole](**inputs).values()
    np.save(f"{path}.answers.npy", answers)
    if steps is not None:
        (answers,) = loaded.signatures["serve_with_steps"](**inputs, steps=steps).values()
        np.save(f"{path}.with_steps.npy", answers)


if __name__ == "__main__":
    main()
