"""Kernels modulated, or maps: `python benchmarks/modulated_convolutions.py`.

A factorised modulation, `W * (1 + M)`, can act on the small kernel before the convolution, as kfsl
has it; or on the maps behind it: `M` is of rank one, so the convolution takes it apart into one
with `W` and cheap factors of its inputs and outputs around others. Where `g1` has the kernel's
rows these are one for each row.

Both are timed in turn on one task of the multimodal papers' network (5-way 1-shot, 15 queries),
with the gradients of kernel, factors and incoming maps (the images' own is not asked for), after
their values and gradients were compared in double precision.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.timing import seconds_of

importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.

STRIDE, KERNEL, BLOCKS, CHECKED_SIZE = 2, 3, 4, 8


def modulated_kernel(images: Any, kernel: Any, first: Any, second: Any) -> Any:
    """One convolution, with the kernel of the task."""
    import tensorflow as tf

    change = tf.einsum("oy,ix->yxio" if first.ndim == 2 else "o,iyx->yxio", first, second)
    return tf.nn.conv2d(images, kernel * (1.0 + change), STRIDE, "SAME")


def modulated_maps(images: Any, kernel: Any, first: Any, second: Any) -> Any:
    """One convolution that no task changes, and those that a rank of one leaves."""
    import tensorflow as tf

    from kfsl.layers.convolution_before import same_padding

    maps = tf.nn.conv2d(images, kernel, STRIDE, "SAME")
    if first.ndim == 1:
        weighted = kernel * tf.transpose(second, (1, 2, 0))[..., None]
        return maps + first * tf.nn.conv2d(images, weighted, STRIDE, "SAME")
    weighted = kernel * tf.transpose(second)[None, :, :, None]
    height = maps.shape[1]
    around = same_padding(images.shape[1], height, STRIDE, KERNEL)
    padded = tf.pad(images, [[0, 0], around, around, [0, 0]])
    for row in range(KERNEL):
        seen = padded[:, row : row + (height - 1) * STRIDE + 1]
        own = weighted[row : row + 1]
        maps += first[:, row] * tf.nn.conv2d(seen, own, STRIDE, "VALID")
    return maps


FORMS: dict[str, Callable] = {"kernel": modulated_kernel, "maps": modulated_maps}


def arguments_of(block: int, images: int, size: int, filters: int, dtype: str) -> list[Any]:
    """Maps that come into a block, its kernel, and the factors that KML makes for it."""
    import tensorflow as tf

    from kfsl.layers.kernel_modulation import KernelModulation

    inputs, outputs = (3 if block == 0 else filters * 2 ** (block - 1)), filters * 2**block
    modulation = KernelModulation((KERNEL, KERNEL, inputs, outputs))
    shapes = [
        (images, size, size, inputs),
        (KERNEL, KERNEL, inputs, outputs),
        (outputs, KERNEL) if modulation.rows_with_outputs else (outputs,),
        (inputs, KERNEL) if modulation.rows_with_outputs else (inputs, KERNEL, KERNEL),
    ]
    return [
        tf.random.stateless_normal(shape, (block, i), dtype=dtype) for i, shape in enumerate(shapes)
    ]


def step_of(form: Callable, block: int) -> Callable:
    """The maps' sum of squares and its gradients, in a graph."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(arguments: list[Any]) -> tuple[Any, list[Any]]:
        asked = arguments[1:] if block == 0 else arguments
        with tf.GradientTape() as tape:
            tape.watch(asked)
            value = tf.reduce_sum(form(*arguments) ** 2)
        return value, tape.gradient(value, asked)

    return step


def largest_difference(block: int, filters: int) -> float:
    """Of values and gradients of both forms, as a share of the largest."""
    import tensorflow as tf

    given = arguments_of(block, 2, CHECKED_SIZE, filters, "float64")
    found = [tf.nest.flatten(step_of(form, block)(given)) for form in FORMS.values()]
    return max(
        float(tf.reduce_max(tf.abs(a - b)) / tf.reduce_max(tf.abs(a)))
        for a, b in zip(*found, strict=True)
    )


def measure(block: int, size: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each form, by turns."""
    given = arguments_of(block, options.images, size, options.filters, "float32")
    steps = {name: step_of(form, block) for name, form in FORMS.items()}
    for step in steps.values():
        step(given)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.repeats):
        for name, step in steps.items():
            seconds[name].append(seconds_of(lambda step=step: step(given)[0].numpy()))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", type=int, default=84, help="of the images")
    parser.add_argument("--images", type=int, default=80, help="of a task")
    parser.add_argument("--filters", type=int, default=32, help="of the first block")
    parser.add_argument("--repeats", type=int, default=10, help="timed steps")
    parser.add_argument("--json", help="a file for all figures")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}", flush=True)
    blocks, size = [], options.size
    for block in range(BLOCKS):
        difference = largest_difference(block, options.filters)
        seconds = measure(block, size, options)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        blocks.append({"largest_difference": difference, "seconds": seconds, "median": medians})
        print(
            f"block {block + 1}: kernel {medians['kernel']:.4f} s, maps {medians['maps']:.4f} s, "
            f"difference {difference:.0e}"
        )
        size = -(-size // STRIDE)
    totals = {name: sum(block["median"][name] for block in blocks) for name in FORMS}
    found = {"blocks": blocks, "maps_to_kernel": totals["maps"] / totals["kernel"]}
    print(f"maps take {found['maps_to_kernel']:.2f} times as long as kernels")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
