"""Signatures as ONNX files, and as ONNX Runtime runs them."""

import logging
import os
import re
from typing import Any

import numpy as np
import tensorflow as tf

from kfsl.serving.exported_signatures import ExportedSignatures
from kfsl.serving.signatures import named_specs
from kfsl.serving.unconvertible import UnconvertibleError

#: Of ONNX's operators; ONNX Runtime runs it since release 1.14.
OPSET = 18
#: Of the outputs of `adapt`, whose inputs may have the same names: a graph of ONNX cannot.
STATE = "state_"
_UNSUPPORTED = re.compile(r"Tensorflow op \[.*: (\w+)\] is not supported")


def to_onnx(function: Any, prefix: str = "") -> bytes:
    """Converts a signature with tf2onnx.

    Args:
        function: concrete function of tensors by name.
        prefix: str. Of the names of outputs.

    Returns:
        bytes of a file whose inputs and outputs have the signature's names.

    Raises:
        UnconvertibleError: naming the operations for which ONNX has nothing.

    Example:
    ```python
    import importlib.util
    import tensorflow as tf
    from kfsl.serving.signatures import concrete_function

    if importlib.util.find_spec("tf2onnx"):
        from kfsl.serving.onnx_format import to_onnx

        double = concrete_function(
            lambda x: {"y": 2.0 * x}, x=tf.TensorSpec((None, 3), tf.float32)
        )
        assert b"y" in to_onnx(double)
    ```
    """
    import tf2onnx

    specs = named_specs(function)
    names = list(specs)

    # tf2onnx gives inputs by their place.
    def by_place(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        found = function(**dict(zip(names, tensors, strict=True)))
        return {f"{prefix}{name}": tensor for name, tensor in found.items()}

    told = _Told()
    with told:
        try:
            model, _ = tf2onnx.convert.from_function(
                tf.function(by_place, autograph=False),
                [tf.TensorSpec(specs[name].shape, specs[name].dtype, name) for name in names],
                opset=OPSET,
            )
        except Exception as error:  # It raises whatever an operation that it lacks leads to.
            raise UnconvertibleError(told.operations, f"tf2onnx: {error}") from error
    if told.operations:
        raise UnconvertibleError(told.operations)
    _name_free_axes(model.graph)
    return model.SerializeToString()


class _Told(logging.Handler):
    """The operations that tf2onnx could not convert: it writes them to its log and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.operations: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.operations |= set(_UNSUPPORTED.findall(record.getMessage()))

    def __enter__(self) -> None:
        # Its modules' loggers write to standard error what is told in one line here.
        self._logger = logging.getLogger("tf2onnx")
        self._before = self._logger.propagate, list(self._logger.handlers), self._logger.level
        self._logger.propagate, self._logger.handlers = False, [self]
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *raised: object) -> None:
        self._logger.propagate, self._logger.handlers, level = self._before
        self._logger.setLevel(level)


def _name_free_axes(graph: Any) -> None:
    """Numbers that count up through the process would make each file another one."""
    for value in [*graph.input, *graph.output]:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if not size.HasField("dim_value"):
                size.dim_param = f"{value.name}_{axis}"
    # The shapes in between have such names too, and nobody needs them.
    del graph.value_info[:]


class OnnxSignatures(ExportedSignatures):
    """Signatures as ONNX files; see `ExportedSignatures`."""

    def __getitem__(self, name: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            os.path.join(self.folder, self.files[name]),
            options,
            providers=["CPUExecutionProvider"],
        )
        outputs = [output.name for output in session.get_outputs()]

        def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
            found = session.run(outputs, inputs)
            names = (
                output.removeprefix(STATE) if name == "adapt" else output for output in outputs
            )
            return dict(zip(names, found, strict=True))

        return run
