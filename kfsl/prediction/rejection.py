"""Images of none of the classes: where the line is drawn for one support set."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kfsl.calibration.scores import DEFAULT_SCORE, SCORES
from kfsl.calibration.threshold import KNOWN_ACCEPTED, accepting_threshold, fewest_scores
from kfsl.calibration.words import NAMES

#: What an image is called that is of none of the classes.
NONE = "none of these"


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A score, and the threshold below which an image is of none of the classes.

    Args:
        score: str. Key of `kfsl.calibration.scores.SCORES`.
        threshold: float.
        known_accepted: float. Share of images of the classes that it is to let pass.
        fitted_on: str. What the threshold is from, for people.

    Example:
    ```python
    import numpy as np
    from kfsl.prediction.rejection import fit_rejection

    validated = {"score": "max_logit", "threshold": -5.0, "known_accepted": 0.95}
    rejection = fit_rejection(validated)
    assert rejection.rejected(np.array([[-1.0, -9.0], [-8.0, -9.0]])).tolist() == [False, True]
    ```
    """

    score: str
    threshold: float
    known_accepted: float
    fitted_on: str

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """The score of each query: low for what is of none of the classes.

        Args:
            logits: float array, `[Q, ways]`, as a served model gives them.

        Returns:
            float64 array, `[Q]`.
        """
        return SCORES[self.score](logits)

    def rejected(self, logits: np.ndarray) -> np.ndarray:
        """Whether each query is of none of the classes.

        Args:
            logits: float array, `[Q, ways]`.

        Returns:
            bool array, `[Q]`.
        """
        return self.scores(logits) < self.threshold

    def line(self, rejected: int, images: int) -> str:
        """What was rejected and by which rule, for people."""
        return (
            f"{NONE.capitalize()}: {rejected} of {images} images, whose {NAMES[self.score]} is "
            f"below {self.threshold:.4g}: {self.fitted_on}, to keep {self.known_accepted:.0%} of "
            "the images that are of the classes."
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def fit_rejection(
    validated: Mapping[str, Any] | None, left_out_logits: np.ndarray | None = None
) -> Rejection:
    """Draws the line for a support set.

    - Where the support set has enough images to leave out (19, to keep 95 %), their scores alone
      decide: they are of the user's own kind of images, and of as many classes and nearly as many
      images each.
    - Of fewer, the threshold of validation holds, lowered to the least of their scores: it does
      not reject what the support set itself says is known.
    - Without any, such as one image a class, the threshold of validation.

    An image that is left out meets a support set that lacks it, so its score is rather low: the
    line lets more pass than it says, not less.

    Args:
        validated: mapping or None. `calibration["rejection"]` of `model.json`: `score`,
            `threshold` and `known_accepted`.
        left_out_logits: float array, `[n, ways]`, or None. What the model says of support images
            that it was not shown; see `ServedLearner.leave_one_out`.

    Returns:
        `Rejection`.

    Raises:
        ValueError: if there is no threshold of validation, and too few images to leave out.
    """
    score = validated["score"] if validated else DEFAULT_SCORE
    share = validated["known_accepted"] if validated else KNOWN_ACCEPTED
    some = left_out_logits is not None and len(left_out_logits)
    known = SCORES[score](left_out_logits) if some else np.empty(0)
    if len(known) >= fewest_scores(share):
        from_support = f"fitted on {len(known)} images of the support set, each left out in turn"
        return Rejection(score, accepting_threshold(known, share), share, from_support)
    if not validated:
        raise ValueError(no_threshold(len(known), share))
    threshold, fitted_on = validated["threshold"], "fitted on validation classes"
    if len(known) and known.min() < threshold:
        threshold = float(known.min())
        fitted_on += f" and lowered to what {len(known)} images of the support set score"
    return Rejection(score, threshold, share, fitted_on)


def no_threshold(images: int, share: float = KNOWN_ACCEPTED) -> str:
    """Why nothing can be rejected, and what to do.

    Args:
        images: int. Of the support set, that can be left out.
        share: float. Of known images that were to be kept.

    Returns:
        str.
    """
    return (
        f"Where the line to {NONE!r} is cannot be told: the model has no threshold, and of the "
        f"support set {images} images can be left out, where {fewest_scores(share)} are needed. "
        "Calibrate its run (python -m kfsl.evaluate --run_dir=RUN --calibrate) and export it "
        "again, or add images."
    )
