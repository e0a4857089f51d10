"""Evaluations that were computed in parts, such as by several machines."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kfsl.episodes import QUERY_CLASSES
from kfsl.evaluation.error_tally import ErrorTally
from kfsl.evaluation.probability_tally import ProbabilityTally
from kfsl.evaluation.tally import EvaluationTally
from kfsl.objectives.objective import Objective
from kfsl.runs.environment import environment
from kfsl.runs.evaluation_name import evaluation_name
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import replaced_file

#: What reading an archive that is cut or damaged raises.
DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class JudgedBatch:
    """A meta-batch of episodes, and what a learner answered.

    Args:
        number: int. Of the meta-batch, in the whole evaluation.
        episode: dict of arrays, `[B, ...]`, without images.
        labels: array, `[B, Q, ...]`. The queries' labels, or targets.
        outputs: array, `[B, Q, width]`.
    """

    number: int
    episode: dict[str, np.ndarray]
    labels: np.ndarray
    outputs: np.ndarray


@dataclasses.dataclass
class EvaluationPart:
    """One of several parts of an evaluation: some of its meta-batches.

    Args:
        about: dict. Fields of `Evaluation` that are known before anything is counted.
        class_names: sequence of str.
        episodes: int. Of the whole evaluation.
        meta_batch: int.
        shard: pair of int. Which part, of how many.
        batches: list of `JudgedBatch`.
        seconds: float. How long it took.
        environment: dict. See `kfsl.runs.environment.environment`.
        weights: str. As in `Evaluation`.
        overrides: list of str. As in `Evaluation`.
    """

    about: dict[str, Any]
    class_names: Sequence[str]
    episodes: int
    meta_batch: int
    shard: tuple[int, int]
    batches: list[JudgedBatch] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    environment: dict[str, Any] = dataclasses.field(default_factory=environment)
    weights: str = ""
    overrides: list[str] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        """As `Evaluation.name`."""
        return evaluation_name(
            self.about["split"], self.about["base_classes"] > 0, self.about["open_set"]
        )

    def save(self, path: str) -> None:
        """Writes an archive of arrays; nothing in it is executable."""
        told = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "batches"
        }
        told["class_names"] = list(self.class_names)
        arrays = {"about": np.frombuffer(json.dumps(told).encode(), np.uint8)}
        for batch in self.batches:
            parts = {**batch.episode, "labels": batch.labels, "outputs": batch.outputs}
            arrays |= {f"{batch.number}/{name}": value for name, value in parts.items()}
        with replaced_file(path) as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str) -> "EvaluationPart":
        """Reads what `save` wrote.

        Raises:
            ValueError: if it holds something else.
        """
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                told = json.loads(archive["about"].tobytes())
                found: dict[int, dict[str, np.ndarray]] = {}
                for key in archive.files:
                    if key != "about":
                        number, name = key.split("/")
                        found.setdefault(int(number), {})[name] = archive[key]
            batches = [
                JudgedBatch(number, each, each.pop("labels"), each.pop("outputs"))
                for number, each in found.items()
            ]
            return cls(**{**told, "shard": tuple(told["shard"]), "batches": batches})
        except (*DAMAGE, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path!r} is no part of an evaluation ({error}). Delete it and evaluate that part "
                "again."
            ) from error

    @property
    def same(self) -> dict[str, Any]:
        """What has to be the same in all parts of an evaluation."""
        return {
            **self.about,
            "class_names": list(self.class_names),
            "episodes": self.episodes,
            "meta_batch": self.meta_batch,
            "parts": self.shard[1],
            "weights": self.weights,
            "overrides": self.overrides,
        }


def evaluation_of(
    part: EvaluationPart, batches: Iterable[JudgedBatch], objective: Objective
) -> Evaluation:
    """Counts what happened in the episodes of an evaluation.

    Args:
        part: `EvaluationPart`, any of its parts.
        batches: iterable of `JudgedBatch`: all of the evaluation, in order.
        objective: `Objective` of the learner.

    Returns:
        `Evaluation`.
    """
    about = dict(part.about)
    names, calibration = about.pop("mode_names"), about.pop("calibration")
    del about["open_set"]
    tally: EvaluationTally | ErrorTally = ErrorTally(objective)
    probabilities = None
    if objective.has_classes:
        tally = EvaluationTally(tuple(part.class_names), about["base_classes"])
        probabilities = ProbabilityTally(calibration)
    for batch in batches:
        tally.add(batch.episode, batch.labels, batch.outputs)
        if probabilities is not None:
            probabilities.add(batch.labels, batch.episode[QUERY_CLASSES], batch.outputs)
    return Evaluation(
        **about,
        values=tally.values,
        ways=tally.ways,
        shots=tally.shots,
        queries=tally.queries,
        episodes_fingerprint=tally.fingerprint,
        classes=tally.class_counts(),
        confusions=tally.confusions(),
        environment=part.environment,
        earlier_fingerprints=tally.earlier_fingerprints,
        modes=tally.modes,
        mode_names=names if tally.modes else [],
        weights=part.weights,
        overrides=part.overrides,
        calibration={} if probabilities is None else probabilities.calibration(),
        open_set={} if probabilities is None else probabilities.open_set(),
    )


def merged(parts: Sequence[EvaluationPart], objective: Objective) -> Evaluation:
    """The evaluation that one process would have given.

    Args:
        parts: sequence of `EvaluationPart`, all of one evaluation, in any order.
        objective: `Objective` of the learner.

    Returns:
        `Evaluation`. Its seconds are those of all parts together.

    Raises:
        ValueError: naming a part that is missing, or differs from the first.
    """
    by_place = {part.shard[0]: part for part in parts}
    first = parts[0]
    for place in range(first.shard[1]):
        if place not in by_place:
            raise ValueError(f"Part {place} of {first.shard[1]} is missing.")
        for name, value in by_place[place].same.items():
            if value != first.same[name]:
                raise ValueError(
                    f"Part {place} is of another evaluation than part {first.shard[0]}: its {name} "
                    f"is {value!r}, and not {first.same[name]!r}."
                )
    batches = [batch for part in by_place.values() for batch in part.batches]
    batches.sort(key=lambda batch: batch.number)
    found = evaluation_of(by_place[0], batches, objective)
    seconds = sum(part.seconds for part in by_place.values())
    return dataclasses.replace(found, seconds=round(seconds, 1))
