"""One number that makes probabilities honest: the temperature that divides logits."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from kfsl.calibration.softmax import IMPOSSIBLE, checked_logits

#: Temperatures that are looked at.
COLDEST, HOTTEST = 1e-4, 1e4


def fit_temperature(logits: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """The temperature at which the true classes of some episodes are likeliest.

    The negative log likelihood is convex in 1 / temperature, so there is one least value. A
    learner that is never wrong would ask for a temperature of 0; so, as in Platt's scaling, one
    query more than there are is imagined, whose class is any with the same probability.

    Args:
        logits: sequence of float arrays, `[Q, ways]`, one for each episode.
        labels: sequence of int arrays, `[Q]`.

    Returns:
        float, between `COLDEST` and `HOTTEST`; 1 where logits tell nothing.

    Raises:
        ValueError: if there is no query, logits are not numbers, or a label has no logit.

    Reference:
        [Guo et al., 2017](https://proceedings.mlr.press/v70/guo17a.html), section 4.2.

    Example:
    ```python
    import numpy as np
    from kfsl.calibration.temperature import fit_temperature

    # As sure as 9 to 1, and right in three of four: 3 to 1 would be honest.
    logits = [np.tile([np.log(9.0), 0.0], (4000, 1))]
    found = fit_temperature(logits, [np.tile([0, 0, 0, 1], 1000)])
    assert abs(found - np.log(9.0) / np.log(3.0)) < 0.01
    ```
    """
    centred = [_centred(rows, truth) for rows, truth in zip(logits, labels, strict=True)]
    total = sum(len(truth) for truth in labels)
    if not total:
        raise ValueError("A temperature needs at least one query; received none.")
    imagined = 1.0 / total

    def slope(log_temperature: float) -> float:
        """Derivative of the mean negative log likelihood by 1 / temperature."""
        inverse = np.exp(-log_temperature)
        gained = 0.0
        for rows, to_uniform in centred:
            probabilities = softmax(inverse * rows, axis=1)
            # A class that cannot be adds nothing: 0 times minus infinity is no number.
            expected = np.sum(np.where(rows > IMPOSSIBLE, rows, 0.0) * probabilities, axis=1)
            # The true class stands at 0.
            gained += np.sum(expected + imagined * (expected - to_uniform))
        return float(gained)

    ends = np.log(COLDEST), np.log(HOTTEST)
    cold, hot = slope(ends[0]), slope(ends[1])
    if cold == hot == 0:
        return 1.0
    if cold <= 0:
        return COLDEST
    if hot >= 0:
        return HOTTEST
    return float(np.exp(brentq(slope, *ends, xtol=1e-10)))


def _centred(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits less the true class's, and the mean of those of the classes that can be."""
    rows = checked_logits(logits)
    labels = np.asarray(labels)
    if len(labels) != len(rows) or (labels < 0).any() or (labels >= rows.shape[1]).any():
        raise ValueError(
            f"Each of the {len(rows)} queries needs a label from 0 to {rows.shape[1] - 1}; "
            f"received {labels.tolist()[:20]}."
        )
    true = rows[np.arange(len(rows)), labels][:, None]
    if (true < IMPOSSIBLE).any():
        raise ValueError("A query's true class is one that the learner holds for impossible.")
    possible = rows > IMPOSSIBLE
    rows = np.where(possible, rows - true, -np.inf)
    mean = np.sum(np.where(possible, rows, 0.0), axis=1) / possible.sum(axis=1)
    return rows, mean
