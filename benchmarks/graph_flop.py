"""Multiplications that a traced function makes, counted in its graph.

FLOP are two for each multiplication of a convolution or matrix product; all else counts as
nothing.
"""

from typing import Any

CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
PRODUCTS = ("MatMul", "BatchMatMulV2")
HIDING = ("While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall")


def graph_flop(graph: Any) -> int:
    """FLOP of one run of a graph whose shapes are known."""
    operations = needed(graph)
    hidden = [op.name for op in operations if op.type in HIDING]
    if hidden:
        raise RuntimeError(f"{hidden[0]!r} hides work; only unrolled inner loops can be counted.")
    return sum(_flop(op) for op in operations)


def needed(graph: Any) -> list[Any]:
    """The operations that run: TensorFlow writes gradients down that nothing uses."""
    found, waiting = {}, [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found[op.name] = op
            waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    return list(found.values())


def _flop(op: Any) -> int:
    if op.type in CONVOLUTIONS:
        # Positions of the convolution's outputs, times the multiplications of each.
        maps = op.outputs[0] if op.type == "Conv2D" else op.inputs[2]
        kernel = op.outputs[0] if op.type == "Conv2DBackpropFilter" else op.inputs[1]
        return 2 * _size(maps.shape) * _size(kernel.shape[:3])
    if op.type in PRODUCTS:
        transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        inner = op.inputs[0].shape[-2 if transposed else -1]
        return 2 * _size(op.outputs[0].shape) * inner
    return 0


def _size(shape: Any) -> int:
    size = shape.num_elements()
    if size is None:
        raise RuntimeError(f"The shape {shape} is not known before the step runs.")
    return size
