"""The SavedModel in its folder."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from kfsl.runs.evaluation_record import Evaluation
from kfsl.serving.whole_folder import write_folder, writing


def write_saved_model(
    path: str,
    owners: Sequence[Any],
    signatures: Mapping[str, Any],
    description: dict[str, Any],
    difference: Callable[[str], float],
    beside: Mapping[str, Mapping[str, Any] | bytes],
    script: str,
    evaluations: Sequence[Evaluation] = (),
) -> dict[str, Any]:
    """Writes a graph and what lies beside it; an earlier export is replaced as a whole.

    Args:
        path: str. The folder.
        owners: sequence of what TensorFlow tracks: the variables that the graph reads, or what
            has them.
        signatures: mapping from names to concrete functions.
        description: dict. What `model.json` shall say.
        difference: function from a folder to how far the graph in it, loaded anew, is from the
            model; it raises a ValueError for more than rounding.
        beside: mapping from names of files to what they shall say: what JSON can hold, or bytes.
        script: str. Path of the file that becomes `example.py`.
        evaluations: sequence of `Evaluation`. What the model card says was measured.

    Returns:
        The description, with `difference_from_python`.

    Raises:
        ValueError: if the loaded graph differs from the model.
        OSError: if there is no space for it, or it cannot be written.
    """

    def fill(partial: str) -> dict[str, Any]:
        with writing(path):
            module = tf.Module()
            module.weights = list(owners)
            tf.saved_model.save(module, partial, signatures=dict(signatures))
        return {**description, "difference_from_python": difference(partial)}

    return write_folder(path, fill, beside, script, evaluations)


def variables_of(model: keras.Model) -> list[Any]:
    """The plain TensorFlow variables of a model: itself, it would be saved for Keras alone."""
    return [variable.value for variable in model.variables]


def written_spec(tensor: Any) -> dict[str, Any]:
    """Dtype and shape of a tensor, as `model.json` has them."""
    shape = None if tensor.shape.rank is None else tensor.shape.as_list()
    return {"dtype": tensor.dtype.name, "shape": shape}
