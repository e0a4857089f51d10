"""Two learners compared episode by episode."""

import dataclasses
from typing import Any

import numpy as np

from kfsl.runs.evaluation_record import Evaluation, by_mode, mean_over_modes
from kfsl.runs.measure import half_interval, measure_named

#: Two evaluations saw the same episodes, as far as both go, if these agree and what follows.
SAME_EPISODES = (
    "split",
    "seed",
    "dataset_fingerprint",
    "ways",
    "shots",
    "queries",
    "base_classes",
    "metric",
)


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """Mean difference of what two learners reach on the same episodes.

    Args:
        mean: float. The first's number minus the second's; of accuracies in -1..1.
        interval: float. Half the width of its 95 % interval.
        episodes: int. Number of pairs.
        metric: str. Of what; see `Evaluation`.
    """

    mean: float
    interval: float
    episodes: int
    metric: str = "accuracy"

    def summary(self) -> str:
        """One line for people."""
        verdict = "" if abs(self.mean) > self.interval else "; no difference beyond chance"
        measure = measure_named(self.metric)
        told = measure.difference_text(self.mean, self.interval)
        if not measure.larger_is_better:
            told += " (less is better)"
        return f"difference on the same {self.episodes} {measure.measured}: {told}{verdict}"


@dataclasses.dataclass(frozen=True)
class DifferencesByMode:
    """What two learners' difference is in each mode of a mixture.

    Args:
        modes: dict from names of modes to `PairedDifference`; empty where there are no modes.
        macro: `PairedDifference` or None. The mean over modes, however many episodes each has.
    """

    modes: dict[str, PairedDifference] = dataclasses.field(default_factory=dict)
    macro: PairedDifference | None = None

    def lines(self) -> list[str]:
        """A line for each mode, and their mean; none where there are no modes."""
        told = [f"  {name}: {each.summary()}" for name, each in self.modes.items()]
        if self.macro is not None:
            told.append(f"  mean over {len(told)} modes: {self.macro.summary()}")
        return told

    def to_json(self) -> dict[str, Any]:
        """`by_mode` and `macro`, as JSON can hold them."""
        return {
            "by_mode": {name: dataclasses.asdict(each) for name, each in self.modes.items()},
            "macro": None if self.macro is None else dataclasses.asdict(self.macro),
        }


def paired_difference(first: Evaluation, second: Evaluation) -> PairedDifference:
    """Compares two learners episode by episode.

    Episodes differ in difficulty, and both learners feel it: the differences vary less than
    the numbers themselves, so the interval is narrower than the two intervals suggest.

    Args:
        first: `Evaluation`.
        second: `Evaluation`, on the same episodes.

    Returns:
        `PairedDifference`, first minus second, over the episodes that both saw.

    Raises:
        ValueError: if they saw different episodes, naming what differs.
    """
    different = differences(first, second)
    if different:
        raise ValueError(
            "A paired comparison needs the same episodes, but these differ in "
            f"{'; '.join(different)}. Evaluate both alike."
        )
    both = min(first.episodes, second.episodes)
    gaps = np.subtract(first.values[:both], second.values[:both])
    return PairedDifference(float(np.mean(gaps)), half_interval(gaps), len(gaps), first.metric)


def paired_by_mode(first: Evaluation, second: Evaluation) -> DifferencesByMode:
    """`paired_difference` of each mode's episodes, and the mean over modes.

    Raises:
        ValueError: as `paired_difference`.
    """
    together = paired_difference(first, second)
    gaps = np.subtract(first.values[: together.episodes], second.values[: together.episodes])
    groups = by_mode(first, gaps.tolist())
    if not groups:
        return DifferencesByMode()
    modes = {
        name: PairedDifference(
            float(np.mean(group)), half_interval(group), len(group), first.metric
        )
        for name, group in groups.items()
    }
    macro = PairedDifference(*mean_over_modes(groups), together.episodes, first.metric)
    return DifferencesByMode(modes, macro)


def differences(first: Evaluation, second: Evaluation) -> list[str]:
    """What keeps two evaluations from having seen the same episodes; empty if nothing does.

    One may have seen more than the other, if it is known what it saw at first.
    """
    different = {
        name: [getattr(one, name) for one in (first, second)]
        for name in SAME_EPISODES
        if getattr(first, name) != getattr(second, name)
    }
    both = min(first.episodes, second.episodes)
    fingerprints = [_fingerprint_of(one, both) for one in (first, second)]
    if None in fingerprints:
        different["episodes"] = [first.episodes, second.episodes]
    elif fingerprints[0] != fingerprints[1]:
        different["episodes_fingerprint"] = fingerprints
    return [f"{name} ({one} and {other})" for name, (one, other) in different.items()]


def _fingerprint_of(evaluation: Evaluation, episodes: int) -> str | None:
    """Of the first episodes; None where it was not kept."""
    if episodes == evaluation.episodes:
        return evaluation.episodes_fingerprint
    return evaluation.earlier_fingerprints.get(str(episodes))
