"""Completes a function with this exported few-shot learner. Needs TensorFlow and NumPy alone.

    python example.py                     made-up points
    python example.py GIVEN.csv ASKED.csv  yours: a line for each point, its numbers with commas
                                           between them; in GIVEN.csv the target's stand last

A new function needs no training: its given points are an input.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).resolve().parent


def read_points(path, columns):
    """A file of numbers as float32 [n, columns]."""
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").split("\n")
        lines = [line for line in lines if line.strip()]
        if not lines:
            sys.exit(f"{path} is empty; this model needs lines of {columns} numbers.")
        points = np.loadtxt(lines, "float32", delimiter=",", ndmin=2)
    except OSError as error:
        sys.exit(f"{path} cannot be read: {error.strerror}.")
    except ValueError as error:  # A header, another delimiter, lines of different lengths.
        sys.exit(
            f"{path} must hold lines of {columns} numbers with commas between them, without a "
            f"header ({str(error).split('; use')[0]})."
        )
    if points.shape[1] != columns:
        sys.exit(f"{path} has {points.shape[1]} numbers a line; this model needs {columns}.")
    return points


def made_up_points(inputs, targets, given=10, asked=5, seed=0):
    """A wave: given points with their targets, and points that are asked."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0.0, 1.0, (given + asked, inputs)).astype("float32")
    slopes = rng.normal(0.0, 3.0, (inputs, targets))
    values = (0.5 + 0.5 * np.sin(places @ slopes)).astype("float32")
    return np.concatenate([places[:given], values[:given]], axis=1), places[given:]


def main():
    description = json.loads((FOLDER / "model.json").read_text(encoding="utf-8-sig"))
    shapes = description["inputs"]["shape"], description["targets"]["shape"]
    if any(len(shape) != 1 for shape in shapes):
        sys.exit(f"This model takes inputs of shape {shapes[0]}: call its signatures with arrays.")
    (inputs,), (targets,) = shapes
    if len(sys.argv) == 3:
        given = read_points(sys.argv[1], inputs + targets)
        asked = read_points(sys.argv[2], inputs)
    else:
        given, asked = made_up_points(inputs, targets)
    model = tf.saved_model.load(str(FOLDER))
    outputs = model.signatures["serving_default"](
        support_inputs=tf.constant(given[:, :inputs]),
        support_targets=tf.constant(given[:, inputs:]),
        query_inputs=tf.constant(asked),
    )
    for point, row in zip(asked, outputs["predictions"].numpy(), strict=True):
        told = ", ".join(f"{value:.4g}" for value in point)
        print(f"{told}: {', '.join(f'{value:.4f}' for value in row)}")


if __name__ == "__main__":
    main()
