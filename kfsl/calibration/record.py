"""What was fitted on validation episodes so that probabilities can be believed."""

import dataclasses
import os
from typing import Any

from kfsl.runs.files import read_json, write_json

#: What of it a served model keeps beside its graph.
SERVED = ("temperature", "split", "episodes", "ways", "shots", "before", "after", "rejection")
#: What of `before` and `after` it keeps.
TOLD = ("ece", "ece_interval", "nll", "brier")


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A temperature, and perhaps a threshold, fitted on validation episodes.

    Args:
        temperature: float. Divides logits; predictions stay what they are.
        split: str. Whose classes it was fitted on.
        episodes: int.
        ways: int or `[smallest, largest]`. As in `Evaluation`; so are those that follow.
        shots: int or `[smallest, largest]`.
        queries: int or `[smallest, largest]`.
        seed: int.
        dataset: str.
        dataset_fingerprint: str.
        weights: str. SHA-256 of the file of weights.
        settings: str. See `kfsl.learners.base.settings`: of another learner, such as one that
            takes more steps, another temperature holds.
        overrides: list of str. Bindings that differed from the run's own.
        before: dict, `Reliability` of the probabilities as they were.
        after: dict, `Reliability` of those at the temperature, on the same episodes.
        rejection: dict or None where the split leaves no unknown classes: `score`, a key of
            `kfsl.calibration.scores.SCORES`, which told known from unknown queries best;
            `threshold`, below which a query is of none of the classes; `known_accepted`, the
            share of known queries that it was to let pass; `unknown_ways`, `unknown_queries`,
            `auroc` of each score and `rates` of the threshold.

    Example:
    ```python
    import tempfile
    from kfsl.calibration.record import Calibration

    found = Calibration(
        temperature=2.0, split="val", episodes=600, ways=5, shots=1, queries=15, seed=0,
        dataset="letters", dataset_fingerprint="", weights="", settings="", overrides=[],
        before={"ece": 0.1}, after={"ece": 0.01}, rejection=None,
    )
    path = f"{tempfile.mkdtemp()}/calibration.json"
    found.save(path)
    assert Calibration.load(path) == found
    assert found.served()["after"] == {"ece": 0.01}
    ```
    """

    temperature: float
    split: str
    episodes: int
    ways: int | list[int]
    shots: int | list[int]
    queries: int | list[int]
    seed: int
    dataset: str
    dataset_fingerprint: str
    weights: str
    settings: str
    overrides: list[str]
    before: dict[str, Any]
    after: dict[str, Any]
    rejection: dict[str, Any] | None

    def served(self) -> dict[str, Any]:
        """What `model.json` says of it."""
        values = {name: getattr(self, name) for name in SERVED}
        for name in ("before", "after"):
            values[name] = {key: values[name][key] for key in TOLD if key in values[name]}
        return values

    def save(self, path: str) -> None:
        """Writes JSON, whole or not at all."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str) -> "Calibration":
        """Reads what `save` wrote.

        Raises:
            ValueError: naming the file, if it holds something else.
        """
        remedy = "delete it and calibrate again: python -m kfsl.evaluate --calibrate"
        values = read_json(path, remedy)
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path!r} is no calibration of kfsl ({error}); {remedy}") from error

    @classmethod
    def of_learner(cls, path: str, weights: str, settings: str) -> "Calibration | None":
        """That of a file, if there is one and it is of a learner as it is now.

        Args:
            path: str. `RunDirectory.calibration_path`.
            weights: str. SHA-256 of the file of weights.
            settings: str. As in the class.

        Returns:
            `Calibration` or None.

        Raises:
            ValueError: if the file is damaged.
        """
        if not os.path.isfile(path):
            return None
        found = cls.load(path)
        return found if (found.weights, found.settings) == (weights, settings) else None
