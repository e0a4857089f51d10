"""Where to draw the line between the classes that are known and none of them."""

import math

import numpy as np

#: Share of the queries of known classes that a threshold is to let pass.
KNOWN_ACCEPTED = 0.95


def accepting_threshold(scores: np.ndarray, share: float = KNOWN_ACCEPTED) -> float:
    """The highest threshold that lets a share of new queries of known classes pass.

    Scores below a threshold are rejected. As in conformal prediction, one more query, drawn as
    these were, is rejected with a probability of at most `1 - share`, whatever the scores are
    distributed like.

    Args:
        scores: float array, `[n]`. Of queries of known classes.
        share: float, in 0..1.

    Returns:
        float; minus infinity where they are too few to reject anything.

    Raises:
        ValueError: for a share outside of it, no scores, or a score that is no number.

    Reference:
        [Vovk et al., 2005](https://doi.org/10.1007/b106715), inductive conformal prediction.

    Example:
    ```python
    import numpy as np
    from kfsl.calibration.threshold import accepting_threshold

    # Of 19 known queries the lowest: a twentieth is below it once in twenty times.
    assert accepting_threshold(np.arange(19.0)) == 0.0
    assert accepting_threshold(np.arange(39.0)) == 1.0
    assert accepting_threshold(np.arange(18.0)) == -np.inf
    ```
    """
    scores = np.sort(np.asarray(scores, "float64").ravel())
    if not 0 < share < 1:
        raise ValueError(f"The share must be between 0 and 1; received {share}.")
    if not len(scores) or np.isnan(scores).any():
        raise ValueError(f"Scores must be numbers, at least one; received {scores.tolist()!r:.80}.")
    # Rounded first: 0.05 * 20 is a little more than 1, and 0.1 * 30 less than 3.
    rank = math.floor(round((1 - share) * (len(scores) + 1), 9))
    return float(scores[rank - 1]) if rank else -math.inf


def fewest_scores(share: float = KNOWN_ACCEPTED) -> int:
    """How many scores `accepting_threshold` needs to reject anything.

    Args:
        share: float, in 0..1.

    Returns:
        int.
    """
    return math.ceil(round(1 / (1 - share), 9)) - 1
