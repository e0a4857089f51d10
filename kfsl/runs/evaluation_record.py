"""What an evaluation found: every episode's accuracy, and enough to compare it with another."""

import dataclasses
import json
import math
import os
from typing import Any

import numpy as np

from kfsl.runs.files import write_text

#: Two evaluations saw the same episodes, as far as both go, if these agree and what follows.
SAME_EPISODES = (
    "split",
    "seed",
    "dataset_fingerprint",
    "ways",
    "shots",
    "queries",
    "base_classes",
)

Size = int | list[int] | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Accuracies of a learner on fixed episodes of one split.

    Args:
        split: str. The split.
        accuracies: list of float, in 0..1, one for each episode, in their order.
        ways: int, or `[smallest, largest]` where episodes differ. Classes per episode.
        shots: int or `[smallest, largest]`. Support images per class.
        queries: int or `[smallest, largest]`. Query images per class.
        seed: int. Seed of the stream of episodes.
        dataset: str. Name of the dataset.
        dataset_fingerprint: str. Of its pixels, names and lists of classes.
        episodes_fingerprint: str. SHA-256 over the classes and labels of all episodes.
        earlier_fingerprints: dict, from numbers of episodes, as text, to the fingerprint of so
            many: a shorter evaluation can be paired with the beginning of a longer one.
        learner: str. Name of the class.
        bn_policy: str. See `Learner.bn_policy`.
        transductive: bool. Whether queries of an episode may influence each other.
        classes: dict, class name to `[correct, queries]`, for the classes that were asked.
        confusions: list of `[true class, predicted class, times, queries]`, the most frequent
            ones, in order; `queries` counts the queries of the true class in episodes that had
            both.
        seconds: float. How long it took.
        environment: dict. See `kfsl.runs.environment.environment`.
        weights: str. SHA-256 of the file of weights, empty if they were in memory only.
        overrides: list of str. Bindings that differed from the run's own.
        base_classes: int. Base classes that the queries may be of besides the support set's; 0:
            none.
        modes: list of int. Of a mixture of datasets: which one each episode is from.
        mode_names: list of str. The datasets of a mixture.

    Example:
    ```python
    from kfsl.runs.evaluation_record import Evaluation

    evaluation = Evaluation(
        split="test", accuracies=[0.8, 1.0], ways=5, shots=1, queries=15, seed=0,
        dataset="letters", dataset_fingerprint="", episodes_fingerprint="",
        learner="PrototypicalNetwork", bn_policy="running", transductive=False,
    )
    assert evaluation.summary() == "test: 5-way 1-shot, 2 episodes: 90.00 ± 19.60 %"
    ```
    """

    split: str
    accuracies: list[float]
    ways: Size
    shots: Size
    queries: Size
    seed: int
    dataset: str
    dataset_fingerprint: str
    episodes_fingerprint: str
    learner: str
    bn_policy: str
    transductive: bool
    classes: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    confusions: list[list] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    environment: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights: str = ""
    overrides: list[str] = dataclasses.field(default_factory=list)
    base_classes: int = 0
    earlier_fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    modes: list[int] = dataclasses.field(default_factory=list)
    mode_names: list[str] = dataclasses.field(default_factory=list)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.accuracies)

    @property
    def mean(self) -> float:
        """Mean accuracy, in 0..1."""
        return float(np.mean(self.accuracies))

    @property
    def interval(self) -> float:
        """Half the width of the 95 % interval of the mean, in 0..1."""
        return half_interval(self.accuracies)

    @property
    def by_mode(self) -> dict[str, list[float]]:
        """Accuracies of the episodes of each mode, for the modes that occur."""
        return by_mode(self, self.accuracies)

    @property
    def macro(self) -> tuple[float, float]:
        """The mean over modes, however many episodes each has, and half of its 95 % interval."""
        groups = list(self.by_mode.values())
        halves = [half_interval(group) for group in groups]
        mean = float(np.mean([np.mean(group) for group in groups]))
        return mean, math.sqrt(sum(half**2 for half in halves)) / len(groups)

    @property
    def name(self) -> str:
        """Of its file: the split, and whether base classes were asked for too."""
        return f"{self.split}_and_base" if self.base_classes else self.split

    @property
    def setting(self) -> str:
        """Such as `5-way 1-shot`, or `64 base classes` where there is no support set."""
        if self.shots == 0:
            return f"{_size_text(self.ways)} base classes"
        told = f"{_size_text(self.ways)}-way {_size_text(self.shots)}-shot"
        return f"{told} and {self.base_classes} base classes" if self.base_classes else told

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.split}: {self.setting}, {self.episodes} episodes: "
            f"{100 * self.mean:.2f} ± {100 * self.interval:.2f} %"
        )

    def mode_lines(self) -> list[str]:
        """A line for each mode, and their mean; none where the episodes are of one dataset."""
        if not self.modes:
            return []
        lines = [
            f"  {name}: {len(group)} episodes: {100 * float(np.mean(group)):.2f} ± "
            f"{100 * half_interval(group):.2f} %"
            for name, group in self.by_mode.items()
        ]
        mean, half = self.macro
        return [*lines, f"  mean over {len(lines)} modes: {100 * mean:.2f} ± {100 * half:.2f} %"]

    def to_json(self) -> dict[str, Any]:
        """The fields, and what follows from them, as JSON can hold them."""
        derived = {
            "summary": self.summary(),
            "mean": self.mean,
            "interval": self.interval,
            "episodes": self.episodes,
            "inductive": not self.transductive,
            "accuracy_by_mode": {
                name: {"mean": float(np.mean(group)), "interval": half_interval(group)}
                for name, group in self.by_mode.items()
            },
        }
        return {**derived, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evaluation":
        """The inverse of `to_json`.

        Raises:
            ValueError: naming a field that is missing.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        missing = [
            name
            for name, field in fields.items()
            if name not in value
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        if missing:
            raise ValueError(f"This is no evaluation of kfsl: it has no {missing[0]!r}.")
        return cls(**{name: value[name] for name in fields if name in value})

    def save(self, path: str) -> None:
        """Writes the JSON, one field a line."""
        lines = (f" {json.dumps(name)}: {json.dumps(v)}" for name, v in self.to_json().items())
        write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, path: str) -> "Evaluation":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds something else.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f"No evaluation {path!r}; python -m kfsl.evaluate writes it.")
        # A byte order mark, as some editors write, is no part of the text.
        with open(path, encoding="utf-8-sig") as file:
            try:
                return cls.from_json(json.load(file))
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{path!r} cannot be read ({error}). Delete it and evaluate again."
                ) from error


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """Mean difference of two learners' accuracies on the same episodes.

    Args:
        mean: float. The first's accuracy minus the second's, in -1..1.
        interval: float. Half the width of its 95 % interval.
        episodes: int. Number of pairs.
    """

    mean: float
    interval: float
    episodes: int

    def summary(self) -> str:
        """One line for people."""
        verdict = "" if abs(self.mean) > self.interval else "; no difference beyond chance"
        return (
            f"difference on the same {self.episodes} episodes: {100 * self.mean:+.2f} ± "
            f"{100 * self.interval:.2f} points{verdict}"
        )


def paired_difference(first: Evaluation, second: Evaluation) -> PairedDifference:
    """Compares two learners episode by episode.

    Episodes differ in difficulty, and both learners feel it: the differences vary less than
    the accuracies, so the interval is narrower than the two intervals suggest.

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
    gaps = np.subtract(first.accuracies[:both], second.accuracies[:both])
    return PairedDifference(float(np.mean(gaps)), half_interval(gaps), len(gaps))


def paired_by_mode(first: Evaluation, second: Evaluation) -> dict[str, PairedDifference]:
    """`paired_difference` of each mode's episodes; empty where there are no modes.

    Raises:
        ValueError: as `paired_difference`.
    """
    together = paired_difference(first, second)
    gaps = np.subtract(
        first.accuracies[: together.episodes], second.accuracies[: together.episodes]
    )
    return {
        name: PairedDifference(float(np.mean(group)), half_interval(group), len(group))
        for name, group in by_mode(first, gaps.tolist()).items()
    }


def by_mode(evaluation: Evaluation, values: list[float]) -> dict[str, list[float]]:
    """Values of the first episodes, sorted into the modes that occur.

    Args:
        evaluation: `Evaluation`.
        values: list of float, one for each of its first episodes.

    Returns:
        dict from names of modes to values, in the order of the mixture.
    """
    modes = evaluation.modes[: len(values)]
    return {
        name: [value for mode, value in zip(modes, values, strict=True) if mode == place]
        for place, name in enumerate(evaluation.mode_names)
        if place in modes
    }


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


def half_interval(values: Any) -> float:
    """1.96 * std / sqrt(n), std being that of a sample; 0 for less than two values."""
    if len(values) < 2:
        return 0.0
    return 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _size_text(size: Size) -> str:
    return "-".join(map(str, size)) if isinstance(size, list) else str(size)
