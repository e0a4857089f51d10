"""Episodes per second from a class store: `python benchmarks/pipeline.py`.

Makes stores of the sizes of Omniglot, miniImageNet, a mixture of both with FC100, and of a thousand
and a million classes of tiny images in a temporary folder (5 GB), streams 5-way 1-shot 15-query
episodes and prints, for each: how long the store took to be written and the writer's peak memory,
the time to open it, the time from the end of imports to the first episode, episodes per second
(each of `--repeats` runs, then the median), and by how much private memory grew while the store was
open, and in use. Numbers depend on what else the machine does: its load is printed.
"""

import argparse
import functools
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.peak_memory import peak_memory
from data_pipelines.class_store import StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.load_dataset import load_dataset
from data_pipelines.pipeline import episodes
from data_pipelines.samplers import fixed_episode, mixture_episode


class Mode(NamedTuple):
    """Classes of a store that are drawn together: how many, of how many images and rotations."""

    classes: int
    images: int
    rotations: int = 1


class Setting(NamedTuple):
    """A store to measure: its size, and the rate to reach."""

    modes: tuple[Mode, ...]
    image_shape: tuple[int, int, int]
    goal: int


SETTINGS = {
    "omniglot": Setting((Mode(4112, 20),), (28, 28, 1), 2500),
    "mini_imagenet": Setting((Mode(64, 600),), (84, 84, 3), 1000),
    # Flat: a million classes cost what a thousand do.
    "thousand_classes": Setting((Mode(1_000, 20),), (8, 8, 1), 2500),
    "million_classes": Setting((Mode(1_000_000, 20),), (8, 8, 1), 2500),
    "three_mode": Setting((Mode(64, 600), Mode(4112, 20, 4), Mode(60, 600)), (84, 84, 3), 1000),
}
FIRST_EPISODE_GOAL = 3.0


def make_store(path: str, setting: Setting) -> None:
    """Writes a store of noise."""
    modes = setting.modes
    most = max(mode.images for mode in modes)
    block = np.random.default_rng(0).integers(0, 256, (most, *setting.image_shape), dtype="uint8")
    counts = [mode.images for mode in modes for _ in range(mode.classes)]

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for c, count in enumerate(counts):
            for image in block[:count]:
                yield c, image

    classes = [StoredClass(f"class{i:04}", "all", count) for i, count in enumerate(counts)]
    metadata = {
        "name": os.path.basename(path),
        "dataset": "image_folder",
        "splits": {"train": [entry.name for entry in classes]},
    }
    if len(modes) > 1:
        metadata |= {
            "dataset": "mixture",
            "modes": [f"mode{i}" for i in range(len(modes))],
            "mode_rotations": [mode.rotations for mode in modes],
            "class_modes": [i for i, mode in enumerate(modes) for _ in range(mode.classes)],
        }
    start = time.perf_counter()
    write_class_store(path, classes, images(), setting.image_shape, metadata)
    print(
        f"{len(classes):,} classes of {sum(counts):,} images written in "
        f"{time.perf_counter() - start:.1f} s, peak {peak_memory() / 2**20:,.0f} MiB",
        flush=True,
    )


def private_megabytes() -> float:
    """Anonymous memory of this process; pages of mapped files do not count."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024


def measure(name: str, path: str, arguments: argparse.Namespace) -> None:
    """Prints the figures of one store; run in a process of its own, so that nothing is warm."""
    if arguments.deterministic:
        tf.config.experimental.enable_op_determinism()
    setting = SETTINGS[name]
    before = private_megabytes()
    start = time.perf_counter()
    dataset = load_dataset(os.path.basename(path), data_dir=os.path.dirname(path))
    opened, held = time.perf_counter() - start, private_megabytes() - before
    drawn = fixed_episode if len(setting.modes) == 1 else mixture_episode
    sampler = functools.partial(drawn, ways=5, shots=1, queries=15)
    stream = iter(episodes(dataset, "train", sampler, meta_batch=arguments.meta_batch))
    next(stream)
    first = time.perf_counter() - start
    rates = []
    for _ in range(arguments.repeats):
        steps = max(1, 2 * setting.goal // arguments.meta_batch)
        start = time.perf_counter()
        for _ in range(steps):
            next(stream)
        rates.append(steps * arguments.meta_batch / (time.perf_counter() - start))
    grown = private_megabytes() - before
    median = statistics.median(rates)
    height, width, channels = setting.image_shape
    print(
        f"{name} {height}x{width}x{channels}, {dataset.store.images.nbytes / 2**20:.0f} MiB, "
        f"meta-batch {arguments.meta_batch}: {median:,.0f} episodes/s "
        f"(goal {setting.goal:,}: {'reached' if median >= setting.goal else 'MISSED'}; runs "
        f"{', '.join(f'{rate:,.0f}' for rate in rates)}), open after {opened:.3f} s, first episode "
        f"after {first:.2f} s (goal {FIRST_EPISODE_GOAL:.0f}), private memory +{held:.0f} MiB "
        f"open, +{grown:.0f} MiB in use (of {before + grown:.0f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--store", nargs="*", choices=SETTINGS, default=list(SETTINGS), help="of which size"
    )
    parser.add_argument("--meta_batch", type=int, default=1, help="episodes per element")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs per store")
    parser.add_argument("--deterministic", action="store_true", help="with op determinism, as fit")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.store:
            path = os.path.join(folder, f"noise_{name}")
            writer = multiprocessing.get_context("spawn").Process(
                target=make_store, args=(path, SETTINGS[name])
            )
            writer.start()
            writer.join()
            load = os.getloadavg()[0]
            print(f"{os.cpu_count()} cores, load before {load:.2f}", flush=True)
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", name, path]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
