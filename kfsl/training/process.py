"""What is set once for the whole process, before the learner is made."""

import os

import keras
import tensorflow as tf

from kfsl.argument_checks import check_flag, check_whole
from kfsl.distribution import strategy as distribution

#: What NumPy, Python's `random` and TensorFlow all take.
LARGEST_PROCESS_SEED = 2**32 - 1

#: TensorFlow ends the process over a negative number, and over threads that it cannot have.
MOST_THREADS = 1024

#: `float64` is here for measuring; see Keras's dtype policies.
PRECISIONS = ("float32", "float64", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")


def set_up(
    seed: int = 0,
    precision: str = "float32",
    deterministic: bool = True,
    threads: int = 0,
    graph_rewriting: bool = False,
    strategy: str | None = None,
) -> None:
    """Seeds, precision, determinism, threads, graph rewriting and strategy of this process.

    Args:
        seed: int. Of weight initialisers and dropout; episodes have `train.seed`.
        precision: str. A Keras dtype policy: `"float32"`, `"mixed_bfloat16"`, `"mixed_float16"`.
        deterministic: bool. The same bits every time on the same machine; ops that cannot
            promise that raise an error.
        threads: int. Threads inside one op; 0 lets TensorFlow choose. It changes the order of
            sums, so two runs agree to the bit only with the same number.
        graph_rewriting: bool. Whether TensorFlow rewrites graphs before it runs them. On a CPU
            the first step comes a fifth earlier without, the others are as fast, and it is
            wrong in long inner loops, which switch it off themselves. A GPU that prefers
            channels first may gain from it.
        strategy: str or None. How a training is spread: `"mirrored"` over all devices of this
            machine, `"multi_worker"` over the processes that `TF_CONFIG` tells of, or SLURM. None:
            one device. It takes part in training alone; other commands have one device.

    Raises:
        ValueError: if an argument is of a wrong type or out of range, TensorFlow already
            started with another number of threads, or the environment does not tell of the
            workers.
    """
    _check(seed, precision, deterministic, threads, graph_rewriting)
    if threads and tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError:
            raise ValueError(
                f"set_up.threads={threads} comes too late: TensorFlow has already started. Set "
                "it before anything is computed."
            ) from None
    if strategy is not None:
        distribution.choose(strategy)
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not graph_rewriting})


def _check(
    seed: int, precision: str, deterministic: bool, threads: int, graph_rewriting: bool
) -> None:
    check_whole("set_up.seed", seed, 0, LARGEST_PROCESS_SEED)
    if precision not in PRECISIONS:
        raise ValueError(
            f"set_up.precision must be one of {', '.join(PRECISIONS)}; received {precision!r}."
        )
    check_flag("set_up.deterministic", deterministic)
    check_whole("set_up.threads", threads, 0, MOST_THREADS)
    check_flag("set_up.graph_rewriting", graph_rewriting)


def onednn() -> bool | None:
    """Whether TensorFlow computes with oneDNN's kernels; None where it does not tell."""
    try:
        # What the environment asks for counts for nothing if TensorFlow was imported before.
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return None
    return IsMklEnabled()


def threads() -> int:
    """Threads inside one op, as TensorFlow will use them."""
    return tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))
