"""What an evaluation found: a number of every episode, and enough to compare it with another."""

import dataclasses
import json
import math
import os
from typing import Any

import numpy as np

from kfsl.runs.evaluation_name import evaluation_name
from kfsl.runs.files import read_json, write_text
from kfsl.runs.measure import Measure, half_interval, measure_named

Size = int | list[int] | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a learner reaches on fixed episodes of one split.

    Args:
        split: str. The split.
        values: list of float, one for each episode, in their order: what `metric` says. In JSON
            they are called after it: `accuracies`, `errors`.
        ways: int, or `[smallest, largest]` where episodes differ. Classes per episode; None
            where a task has none.
        shots: int or `[smallest, largest]`. Support images per class; of a task without classes
            the given points.
        queries: int or `[smallest, largest]`. Query images per class; of a task without classes
            the points that are asked.
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
        metric: str. Name of a `kfsl.runs.measure.Measure`. Accuracies are in 0..1.
        after_updates: list of lists of float. Of policies: what each task returns after 0, 1, ...
            updates; `values` are those after the first.
        later_share: float. How far updates after the first went, of the whole.
        calibration: dict. Of classes: `raw`, a `Reliability` of the probabilities; of a learner
            that was calibrated `scaled` too, those at its `temperature`.
        open_set: dict. Where some queries were of no class of their episode: how they were told
            apart; see `kfsl.evaluation.probability_tally`.

    Example:
    ```python
    from kfsl.runs.evaluation_record import Evaluation

    evaluation = Evaluation(
        split="test", values=[0.8, 1.0], ways=5, shots=1, queries=15, seed=0,
        dataset="letters", dataset_fingerprint="", episodes_fingerprint="",
        learner="PrototypicalNetwork", bn_policy="running", transductive=False,
    )
    assert evaluation.summary() == "test: 5-way 1-shot, 2 episodes: 90.00 ± 19.60 %"
    ```
    """

    split: str
    values: list[float]
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
    metric: str = "accuracy"
    after_updates: list[list[float]] = dataclasses.field(default_factory=list)
    later_share: float = 1.0
    calibration: dict[str, Any] = dataclasses.field(default_factory=dict)
    open_set: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def measure(self) -> Measure:
        """How its numbers are written."""
        return measure_named(self.metric)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over the episodes."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> float:
        """Half the width of the 95 % interval of the mean."""
        return half_interval(self.values)

    @property
    def by_mode(self) -> dict[str, list[float]]:
        """Numbers of the episodes of each mode, for the modes that occur."""
        return by_mode(self, self.values)

    @property
    def macro(self) -> tuple[float, float]:
        """The mean over modes, however many episodes each has, and half of its 95 % interval."""
        return mean_over_modes(self.by_mode)

    @property
    def name(self) -> str:
        """Of its file: the split, and what was asked about besides its classes."""
        return evaluation_name(self.split, self.base_classes > 0, bool(self.open_set))

    @property
    def setting(self) -> str:
        """Such as `5-way 1-shot`, or `64 base classes` where there is no support set."""
        if self.metric == "return":
            return f"{_size_text(self.shots)} rollouts an update"
        if self.ways is None:
            return f"{_size_text(self.shots)} given, {_size_text(self.queries)} asked"
        if self.shots == 0:
            return f"{_size_text(self.ways)} base classes"
        told = f"{_size_text(self.ways)}-way {_size_text(self.shots)}-shot"
        return f"{told} and {self.base_classes} base classes" if self.base_classes else told

    def summary(self) -> str:
        """One line for people."""
        named = "" if self.metric == "accuracy" else f"{self.metric} "
        return (
            f"{self.split}: {self.setting}, {self.episodes} {self.measure.measured}: {named}"
            f"{self.measure.text(self.mean, self.interval)}"
        )

    def mode_lines(self) -> list[str]:
        """A line for each mode, and their mean; none where the episodes are of one dataset."""
        if not self.modes:
            return []
        lines = [
            f"  {name}: {len(group)} episodes: "
            f"{self.measure.text(float(np.mean(group)), half_interval(group))}"
            for name, group in self.by_mode.items()
        ]
        mean, half = self.macro
        return [*lines, f"  mean over {len(lines)} modes: {self.measure.text(mean, half)}"]

    def update_lines(self) -> list[str]:
        """A line for each number of updates of a policy; none of other learners."""
        return [
            f"  after {number} updates: "
            f"{self.measure.text(float(np.mean(found)), half_interval(found))}"
            for number, found in enumerate(self.after_updates)
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields, and what follows from them, as JSON can hold them."""
        derived = {
            "summary": self.summary(),
            "mean": self.mean,
            "interval": self.interval,
            "episodes": self.episodes,
            "inductive": not self.transductive,
            f"{self.metric}_by_mode": {
                name: {"mean": float(np.mean(group)), "interval": half_interval(group)}
                for name, group in self.by_mode.items()
            },
        }
        if self.modes:
            derived[f"{self.metric}_macro"] = dict(
                zip(("mean", "interval"), self.macro, strict=True)
            )
        fields = dataclasses.asdict(self)
        named = {self.measure.plural if name == "values" else name: fields[name] for name in fields}
        return {**derived, **named}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evaluation":
        """The inverse of `to_json`.

        Raises:
            ValueError: naming a field that is missing.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        value = dict(value)
        plural = measure_named(value.get("metric", "accuracy")).plural
        if plural in value:
            value["values"] = value.pop(plural)
        missing = [
            name
            for name, field in fields.items()
            if name not in value
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        if missing:
            lacking = plural if missing[0] == "values" else missing[0]
            raise ValueError(f"This is no evaluation of kfsl: it has no {lacking!r}.")
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
        remedy = "delete it and evaluate again"
        values = read_json(path, remedy)
        try:
            return cls.from_json(values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path!r} is damaged ({error}); {remedy}.") from error


def mean_over_modes(groups: dict[str, list[float]]) -> tuple[float, float]:
    """The mean of the modes' means, and half of its 95 % interval.

    Args:
        groups: dict from names of modes to values, as `by_mode` gives it.

    Returns:
        Two floats.
    """
    halves = [half_interval(group) for group in groups.values()]
    mean = float(np.mean([np.mean(group) for group in groups.values()]))
    return mean, math.sqrt(sum(half**2 for half in halves)) / len(groups)


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


def _size_text(size: Size) -> str:
    return "-".join(map(str, size)) if isinstance(size, list) else str(size)
