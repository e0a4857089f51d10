"""How a training is spread over devices and machines: TensorFlow's own strategies."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from kfsl.distribution import replicas

MIRRORED, MULTI_WORKER = "mirrored", "multi_worker"
#: What `set_up.strategy` can be.
NAMES = (MIRRORED, MULTI_WORKER)

#: How a worker's environment tells it of the others.
EXAMPLE = (
    'TF_CONFIG=\'{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", '
    '"index": 0}}\''
)

#: Where SLURM's workers listen.
SLURM_PORT = 8888


class WorkersDisagreeError(RuntimeError):
    """Workers that were started to train together, and cannot."""


def choose(name: str) -> None:
    """Makes a strategy that of the whole process; all that is made afterwards belongs to it.

    Args:
        name: str. `"mirrored"`: all devices of this machine. `"multi_worker"`: the machines, or
            processes, that `TF_CONFIG` or SLURM tells of.

    Raises:
        ValueError: for another name, or an environment that does not tell of the workers.
    """
    if name not in NAMES:
        raise ValueError(f"set_up.strategy must be one of {', '.join(NAMES)}; received {name!r}.")
    if isinstance(tf.distribute.get_strategy(), _class_of(name)):
        return
    tf.distribute.experimental_set_strategy(_made(name))


def _class_of(name: str) -> type:
    if name == MIRRORED:
        return tf.distribute.MirroredStrategy
    return tf.distribute.MultiWorkerMirroredStrategy


def _made(name: str) -> tf.distribute.Strategy:
    if name == MIRRORED:
        devices = [d.name for d in tf.config.list_logical_devices("GPU")] or [
            d.name for d in tf.config.list_logical_devices("CPU")
        ]
        return tf.distribute.MirroredStrategy(devices)
    resolver = _cluster()
    count = len(resolver.cluster_spec().as_dict()["worker"])
    if count > 1:
        print(f"Worker {resolver.task_id} of {count} waits for the others.", flush=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise ValueError(
            "set_up.strategy = 'multi_worker' comes too late: TensorFlow has already started. Set "
            "it before anything is computed."
        ) from error


def _cluster() -> tf.distribute.cluster_resolver.ClusterResolver:
    if "TF_CONFIG" in os.environ:
        _check_cluster(os.environ["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_PROCID" in os.environ:
        return tf.distribute.cluster_resolver.SlurmClusterResolver(port_base=SLURM_PORT)
    raise ValueError(
        "set_up.strategy = 'multi_worker' needs to know the workers: start each with TF_CONFIG in "
        f"its environment, such as {EXAMPLE}, or all by SLURM."
    )


def _check_cluster(text: str) -> None:
    try:
        found = json.loads(text)
        addresses, index = found["cluster"]["worker"], found["task"]["index"]
        known = found["task"]["type"] == "worker" and set(found["cluster"]) == {"worker"}
        known = known and isinstance(addresses, list) and type(index) is int
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ValueError(
            f"TF_CONFIG must list workers and say which one this is, such as {EXAMPLE}; received "
            f"{text!r}."
        )
    if not 0 <= index < len(addresses):
        raise ValueError(
            f"TF_CONFIG lists {len(addresses)} workers and says that this is number {index}: they "
            "are counted from 0."
        )


# === What a process is in it ===


def spans_workers(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Whether several processes train together."""
    return workers(strategy) > 1


def workers(strategy: tf.distribute.Strategy | None = None) -> int:
    """Processes that train together."""
    strategy = strategy or tf.distribute.get_strategy()
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 1
    return max(1, len(resolver.cluster_spec().as_dict().get("worker", ())))


def worker() -> int:
    """Which of them this process is."""
    return tf.distribute.get_strategy().cluster_resolver.task_id if spans_workers() else 0


def writes() -> bool:
    """Whether this process writes what a training leaves behind: worker 0 does, for all."""
    return worker() == 0


def share(whole: int, name: str) -> int:
    """What each replica has of a number of episodes.

    Args:
        whole: int.
        name: str. The binding that it is of, for the message.

    Raises:
        ValueError: if the replicas' shares would differ.
    """
    count = tf.distribute.get_strategy().num_replicas_in_sync
    if whole % count:
        raise ValueError(
            f"{name} = {whole} cannot be shared by {count} replicas: bind a multiple of {count}."
        )
    return whole // count


def distributed(make: Callable[[int, int], tf.data.Dataset]) -> Any:
    """A dataset of which each replica draws its own part and no other.

    Args:
        make: function of a replica's number and the replicas in all, to its dataset.

    Returns:
        `tf.data.Dataset`, or `tf.distribute.DistributedDataset` of several replicas.
    """
    strategy = tf.distribute.get_strategy()
    count = strategy.num_replicas_in_sync
    if count == 1:
        return make(0, 1)
    here = count // workers()
    first = worker() * here
    with alone():
        parts = [make(first + number, count) for number in range(here)]
        # Of a worker's devices each takes the next element.
        turns = tf.data.Dataset.range(here).repeat()
        drawn = parts[0] if here == 1 else tf.data.Dataset.choose_from_datasets(parts, turns)
    return strategy.distribute_datasets_from_function(lambda _: drawn)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, what is made belongs to this process: the others have their own."""
    strategy = tf.distribute.get_strategy()
    if not tf.distribute.has_strategy():
        yield
        return
    tf.distribute.experimental_set_strategy(None)
    try:
        yield
    finally:
        tf.distribute.experimental_set_strategy(strategy)


# === What the workers say to each other between steps ===


def any_worker(flag: bool) -> bool:
    """Whether a flag is set in any of the workers; each waits here for all others."""
    return bool(tf.reduce_any(_of_all(tf.constant([int(flag)])) > 0))


def check_alike(values: dict[str, int]) -> None:
    """Compares what has to be the same in all workers; each waits here for all others.

    Args:
        values: dict from what it is, for the message, to whole numbers within 63 bits.

    Raises:
        WorkersDisagreeError: naming what differs, and in which worker.
    """
    rows = _of_all(tf.constant([list(values.values())], tf.int64)).numpy()
    for row in range(len(rows)):
        for name, own, first in zip(values, rows[row], rows[0], strict=True):
            if own != first:
                raise WorkersDisagreeError(
                    f"Replica {row} has another {name} than replica 0. Start all workers with the "
                    "same code, configuration and run directory, on the same data."
                )


def on_replicas(function: Callable[[], Any]) -> Any:
    """Runs a function without arguments in each replica.

    Returns:
        What it returns in the first of this process.
    """
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return function()
    run = tf.function(lambda: strategy.run(function), autograph=False)
    return strategy.experimental_local_results(run())[0]


def _of_all(row: Any) -> Any:
    """The rows of all replicas, `[R, ...]`, from one of each worker, `[1, ...]`."""
    strategy = tf.distribute.get_strategy()
    return strategy.experimental_local_results(_gathering(strategy)(row))[0]


@functools.cache
def _gathering(strategy: tf.distribute.Strategy) -> Callable[[Any], Any]:
    """Traced once for each shape: it is called after every epoch."""

    def gathered(row: Any) -> Any:
        # The copy is on the replica's device, as what is sent has to be.
        return replicas.gathered(tf.identity(row))

    return tf.function(lambda row: strategy.run(gathered, (row,)), autograph=False)
