"""Probabilities of logits, in double precision."""

import numpy as np
from scipy.special import log_softmax

#: Below it a logit says that its class cannot be: half of what absent classes are given.
IMPOSSIBLE = -5e8


def checked_logits(logits: np.ndarray) -> np.ndarray:
    """Logits as float64, if they are numbers.

    Args:
        logits: float array, `[n, ways]`. Minus infinity stands for a class that cannot be.

    Returns:
        float64 array, `[n, ways]`.

    Raises:
        ValueError: for another shape, NaN, plus infinity, or a row in which nothing can be.
    """
    logits = np.asarray(logits, "float64")
    if logits.ndim != 2 or logits.shape[1] < 1:
        raise ValueError(f"Logits must be [n, ways]; received the shape {logits.shape}.")
    wrong = np.isnan(logits) | np.isposinf(logits)
    if wrong.any() or np.isneginf(logits).all(axis=1).any():
        row = int(np.flatnonzero(wrong.any(axis=1) | np.isneginf(logits).all(axis=1))[0])
        raise ValueError(
            f"Logits must be numbers; received {logits[row].tolist()} for query {row}. The "
            "learner diverged, or its weights are damaged."
        )
    return logits


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Log of the softmax of logits that are divided by a temperature.

    Args:
        logits: float array, `[n, ways]`.
        temperature: float, positive.

    Returns:
        float64 array, `[n, ways]`.
    """
    return log_softmax(checked_logits(logits) / temperature, axis=1)
