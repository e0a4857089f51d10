"""What was fitted to a learner, made up."""

from kfsl.calibration.record import Calibration

REJECTION = {"score": "max_logit", "threshold": -1.5, "known_accepted": 0.95}


def calibration(temperature: float) -> Calibration:
    return Calibration(
        temperature=temperature, split="val", episodes=600, ways=5, shots=1, queries=15, seed=0,
        dataset="patterns", dataset_fingerprint="", weights="", settings="", overrides=[],
        before={"ece": 0.1, "bins": [[1, 0.5, 1.0]]}, after={"ece": 0.01}, rejection=REJECTION,
    )  # fmt: skip
