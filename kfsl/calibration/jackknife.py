"""Intervals of numbers that are no mean over episodes."""

import math
from collections.abc import Callable

import numpy as np


def jackknife_half(sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> float:
    """Half of the 95 % interval of a number that is computed from sums over episodes.

    Each episode is left out in turn. Queries of one episode share its classes and its support
    set, so it is the episode that is drawn anew, not the query.

    Args:
        sums: float array, `[episodes, ...]`. What each episode adds.
        statistic: function from sums `[n, ...]` to their numbers, `[n]`.

    Returns:
        float; NaN where the number is not defined without some episode.

    Raises:
        ValueError: for fewer than 2 episodes.

    Reference:
        [Efron & Stein, 1981](https://doi.org/10.1214/aos/1176345462).

    Example:
    ```python
    import numpy as np
    from kfsl.calibration.jackknife import jackknife_half

    # Of a mean it is the interval that is always used.
    values = np.array([0.2, 0.4, 0.9])
    sums = np.stack([values, np.ones(3)], axis=1)
    half = jackknife_half(sums, lambda sums: sums[:, 0] / sums[:, 1])
    assert abs(half - 1.96 * values.std(ddof=1) / 3**0.5) < 1e-12
    ```
    """
    count = len(sums)
    if count < 2:
        raise ValueError(f"An interval needs 2 episodes or more; received {count}.")
    without = statistic(np.sum(sums, axis=0) - sums)
    spread = np.sum(np.square(without - np.mean(without)))
    return 1.96 * math.sqrt(spread * (count - 1) / count)
