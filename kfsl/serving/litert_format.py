"""Signatures as LiteRT files, formerly TensorFlow Lite, and as its interpreter runs them."""

import os
import re
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.command_line.command import quiet_start
from kfsl.serving.exported_signatures import ExportedSignatures
from kfsl.serving.graph_rewrites import simplify
from kfsl.serving.unconvertible import UnconvertibleError

_LACKING = re.compile(r"(?:TF Select|Custom|Flex) ops: ([\w, ]+)")
_FAILING = re.compile(r"'tf\.(\w+)' op")


def to_litert(function: Any, name: str, variables: list[tf.Variable]) -> bytes:
    """Converts a signature with TensorFlow's converter, into LiteRT's own operations alone.

    Args:
        function: concrete function of tensors by name.
        name: str. Of the signature within the file.
        variables: list of `tf.Variable`. What the function reads.

    Returns:
        bytes of a `.tflite` file.

    Raises:
        UnconvertibleError: naming the operations that LiteRT lacks.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.serving.litert_format import to_litert
    from kfsl.serving.signatures import concrete_function

    double = concrete_function(lambda x: {"y": 2.0 * x}, x=tf.TensorSpec((None, 3), tf.float32))
    assert b"TFL3" in to_litert(double, "double", [])[:8]
    ```
    """
    failure = None
    with tempfile.TemporaryDirectory() as folder, quiet_start():
        module = tf.Module()
        module.weights = variables
        # Nobody differentiates it, and gradients of a graph's own cannot always be saved.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, folder, signatures={name: function}, options=options)
        simplify(folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[name])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:  # Of many types, some of them private.
            failure = error
    text = str(failure)
    listed = [name for group in _LACKING.findall(text) for name in group.split(", ")]
    operations = [each.strip() for each in listed] or _FAILING.findall(text)[:1]
    raise UnconvertibleError(operations, f"TensorFlow Lite's converter: {text}") from failure


class LiteRTSignatures(ExportedSignatures):
    """Signatures as LiteRT files; see `ExportedSignatures`."""

    def __getitem__(self, name: str) -> Any:
        with quiet_start():  # It tells of the kernels that it chose.
            from ai_edge_litert.interpreter import Interpreter

            path = os.path.join(self.folder, self.files[name])
            runner = Interpreter(model_path=path).get_signature_runner(name)

        def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
            with quiet_start():
                return runner(**inputs)

        return run
