"""Operations that LiteRT's converter fails at where several axes are free, in simpler ones.

`x[:, None]` of a tensor with two free axes becomes `expand_dims`, and a contraction of two tensors
one matrix product: the same numbers, of operations that it has.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, node_def_pb2

from kfsl.serving.signatures import concrete_function


def with_basic_operations(function: Any) -> Any:
    """The same function with those operations replaced.

    Args:
        function: concrete function of tensors by name, with a dict of outputs.

    Returns:
        A concrete function of the same names, shapes and variables.

    Example:
    ```python
    import tensorflow as tf
    from kfsl.serving.graph_rewrites import with_basic_operations
    from kfsl.serving.signatures import concrete_function

    column = concrete_function(lambda x: {"y": x[:, None]}, x=tf.TensorSpec((None,), tf.float32))
    simple = with_basic_operations(column)
    assert simple(x=tf.constant([1.0, 2.0]))["y"].shape == (2, 1)
    assert "StridedSlice" not in {node.op for node in simple.graph.as_graph_def().node}
    ```
    """
    graph = function.graph.as_graph_def()
    _replace(graph)
    _rename_functions(graph)
    specs = function.structured_input_signature[1]
    own = {tensor.name: tensor.op.name for tensor in function.inputs if tensor.op.name in specs}
    read = [tensor.name for tensor in function.inputs if tensor.name not in own]
    outputs = sorted(function.structured_outputs)
    results = [tensor.name for tensor in function.outputs]

    def rewritten(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        given = {name: inputs[key] for name, key in own.items()}
        here = tf.compat.v1.get_default_graph()
        variables = (here.capture(handle) for handle in function.captured_inputs)
        found = tf.graph_util.import_graph_def(
            graph, given | dict(zip(read, variables, strict=True)), results
        )
        return dict(zip(outputs, found, strict=True))

    return concrete_function(rewritten, **specs)


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


def _rename_functions(graph: Any) -> None:
    """Those of the original have these names already, and other bodies."""
    names = {
        each.signature.name: f"simple_{each.signature.name}" for each in graph.library.function
    }
    for each in graph.library.function:
        each.signature.name = names[each.signature.name]
    for nodes in [graph.node, *(each.node_def for each in graph.library.function)]:
        for node in nodes:
            node.op = names.get(node.op, node.op)
            for value in node.attr.values():
                for called in [value.func, *value.list.func]:
                    if called.name in names:
                        called.name = names[called.name]


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
    definition = traced.function_def
    copied = type(definition)()
    copied.CopyFrom(definition)
    copied.signature.name = f"kfsl_simple_{number}_{node.op}"
    result = node.attr["T"].type
    node.op = "PartitionedCall"
    node.attr.clear()
    list_of = attr_value_pb2.AttrValue.ListValue
    node.attr["Tin"].CopyFrom(
        attr_value_pb2.AttrValue(list=list_of(type=[each.as_datatype_enum for each in types]))
    )
    node.attr["Tout"].CopyFrom(attr_value_pb2.AttrValue(list=list_of(type=[result])))
    node.attr["f"].CopyFrom(
        attr_value_pb2.AttrValue(func=attr_value_pb2.NameAttrList(name=copied.signature.name))
    )
    return copied


def _input_types(node: node_def_pb2.NodeDef) -> list[tf.DType]:
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
    masks = {
        name: node.attr[f"{name}_mask"].i
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
    if "." in equation or any(len(set(part)) != len(part) for part in parts):
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
        found = tf.reshape(tf.matmul(a, b), tf.stack([sizes[letter] for letter in order]))
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
