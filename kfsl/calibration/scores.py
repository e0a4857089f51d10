"""Scores of a query that are high where it is of one of the classes, and low where of none."""

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from kfsl.calibration.softmax import checked_logits, log_probabilities


def max_probability(logits: np.ndarray) -> np.ndarray:
    """The probability of the likeliest class.

    Args:
        logits: float array, `[n, ways]`.

    Returns:
        float64 array, `[n]`.

    Reference:
        [Hendrycks & Gimpel, 2017](https://openreview.net/forum?id=Hkg4TI9xl).
    """
    return np.exp(log_probabilities(logits).max(axis=1))


def max_logit(logits: np.ndarray) -> np.ndarray:
    """The largest logit; of prototypes, minus the distance to the nearest.

    Args:
        logits: float array, `[n, ways]`.

    Returns:
        float64 array, `[n]`.

    Reference:
        [Vaze et al., 2022](https://openreview.net/forum?id=5hLP5JY9S2d).
    """
    return checked_logits(logits).max(axis=1)


def energy(logits: np.ndarray) -> np.ndarray:
    """Log of the sum of the logits' exponentials; of prototypes, how dense they lie around it.

    Args:
        logits: float array, `[n, ways]`.

    Returns:
        float64 array, `[n]`.

    Reference:
        [Liu et al., 2020](https://arxiv.org/abs/2010.03759), with the sign turned.
    """
    return logsumexp(checked_logits(logits), axis=1)


#: By name. All read the logits that a served model gives, which its temperature has divided.
SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "max_probability": max_probability,
    "max_logit": max_logit,
    "energy": energy,
}

#: Where nothing was fitted on validation episodes that could choose one.
DEFAULT_SCORE = "max_logit"
