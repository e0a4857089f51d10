"""Operations that LiteRT's converter fails at where several axes are free, in simpler ones.

`x[:, None]` of a tensor with two free axes becomes `expand_dims`, and a contraction of two tensors
one matrix product: the same numbers, of operations that it has.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kfsl.serving.files import GRAPH_FILE


def simplify(folder: str) -> None:
    """Replaces those operations in a SavedModel, in its place.

    Args:
        folder: str. The folder of the SavedModel, which nobody else uses.

    Example:
    ```python
    import tempfile
    import tensorflow as tf
    from kfsl.serving.graph_rewrites import simplify

    module = tf.Module()
    module.column = tf.function(lambda x: x[:, None], [tf.TensorSpec((None,), tf.float32)])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        simplify(folder)
        assert tf.saved_model.load(folder).column(tf.constant([1.0, 2.0])).shape == (2, 1)
    ```
    """
    path = os.path.join(folder, GRAPH_FILE)
    model = saved_model_pb2.SavedModel()
    with open(path, "rb") as file:
        model.ParseFromString(file.read())
    for part in model.meta_graphs:
        _replace(part.graph_def)
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def _replace(graph: Any) -> None:
    """Makes calls of functions of such operations, in the graph and in the functions it calls."""
    library = []
    for nodes in [graph.node, *(each.node_def for each in graph.library.function)]:
        by_name = {node.name: node for node in nodes}
        for node in nodes:
            simple = _simple_form(node, by_name)
            if simple is not None:
                library.append(_call_instead(node, simple, len(library)))
    graph.library.function.extend(library)


def _simple_form(node: Any, by_name: Mapping[str, Any]) -> Callable | None:
    if node.op == "StridedSlice":
        return _insertion(node, by_name)
    if node.op == "Einsum" and node.attr["N"].i == 2:
        return product(node.attr["equation"].s.decode())
    return None


def _call_instead(node: Any, function: Callable, number: int) -> Any:
    """Turns a node into the call of a function, whose definition it returns."""
    types = _input_types(node)
    specs = [tf.TensorSpec(None, dtype) for dtype in types]
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    definition = tf.compat.v1.GraphDef().library.function.add()
    definition.CopyFrom(traced.function_def)
    definition.signature.name = f"kfsl_simple_{number}_{node.op}"
    result = node.attr["T"].type
    node.op = "PartitionedCall"
    node.attr.clear()
    node.attr["Tin"].list.type.extend(each.as_datatype_enum for each in types)
    node.attr["Tout"].list.type.append(result)
    node.attr["f"].func.name = definition.signature.name
    return definition


def _input_types(node: Any) -> list[tf.DType]:
    kind = tf.dtypes.as_dtype(node.attr["T"].type)
    if node.op == "Einsum":
        return [kind, kind]
    index = tf.dtypes.as_dtype(node.attr["Index"].type)
    return [kind, index, index, index]


def _insertion(node: Any, by_name: Mapping[str, Any]) -> Callable | None:
    """What inserts axes, if a slice does nothing else."""
    strides = by_name.get(node.input[3].split(":")[0])
    if strides is None or strides.op != "Const":
        return None
    steps = tf.make_ndarray(strides.attr["value"].tensor)
    # What has its default value is not written, and asking for it would write nothing at all.
    masks = {
        name: node.attr[f"{name}_mask"].i if f"{name}_mask" in node.attr else 0
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    bits = [
        {name for name, mask in masks.items() if mask >> place & 1} for place in range(len(steps))
    ]
    for kinds, step in zip(bits, steps, strict=True):
        whole = {"begin", "end"} <= kinds and step == 1
        if not (kinds & {"ellipsis", "new_axis"} or whole) or "shrink_axis" in kinds:
            return None
    axes = inserted_axes(bits)
    if not axes:
        return None

    def insert(tensor: tf.Tensor, *indices: tf.Tensor) -> tf.Tensor:
        del indices
        for axis in axes:
            tensor = tf.expand_dims(tensor, axis)
        return tensor

    return insert


def inserted_axes(bits: list[set[str]]) -> list[int]:
    """The axes to insert one after another; those behind an ellipsis count from the end.

    Args:
        bits: list of set of str. What each entry of an index is: `"ellipsis"`, `"new_axis"`, or
            a whole axis.

    Returns:
        list of int.
    """
    dots = next((place for place, kinds in enumerate(bits) if "ellipsis" in kinds), len(bits))
    axes = []
    for place, kinds in enumerate(bits):
        if "new_axis" in kinds and "ellipsis" not in kinds:
            behind = [each for each in bits[place + 1 :] if "new_axis" not in each]
            axes.append(place if place < dots else -1 - len(behind))
    return axes


def product(equation: str) -> Callable | None:
    """A contraction of two tensors as one product of matrices.

    Args:
        equation: str. As `tf.einsum` takes it.

    Returns:
        A function of two tensors; None where a letter repeats within one, is summed within one,
        or stands for several axes.
    """
    (left, right), result = equation.split("->")[0].split(","), equation.split("->")[-1]
    parts = (left, right, result)
    if (
        "->" not in equation
        or "." in equation
        or any(len(set(part)) != len(part) for part in parts)
    ):
        return None
    if (set(left) ^ set(right)) - set(result):
        return None
    batch = [letter for letter in left if letter in right and letter in result]
    summed = [letter for letter in left if letter in right and letter not in result]
    rows = [letter for letter in left if letter not in right]
    columns = [letter for letter in right if letter not in left]

    def multiply(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        sizes = {letter: tf.shape(a)[axis] for axis, letter in enumerate(left)}
        sizes |= {letter: tf.shape(b)[axis] for axis, letter in enumerate(right)}
        a = _matrices(a, left, (batch, rows, summed), sizes)
        b = _matrices(b, right, (batch, summed, columns), sizes)
        order = [*batch, *rows, *columns]
        shape = tf.stack([sizes[letter] for letter in order]) if order else ()
        found = tf.reshape(tf.matmul(a, b), shape)
        return tf.transpose(found, [order.index(letter) for letter in result])

    return multiply


def _matrices(
    tensor: tf.Tensor, letters: str, groups: tuple[list[str], ...], sizes: dict[str, tf.Tensor]
) -> tf.Tensor:
    """The tensor with three axes, one for each group of letters."""
    order = [letters.index(letter) for group in groups for letter in group]
    lengths = [
        tf.reduce_prod(tf.stack([sizes[letter] for letter in group])) if group else tf.constant(1)
        for group in groups
    ]
    return tf.reshape(tf.transpose(tensor, order), tf.stack(lengths))
