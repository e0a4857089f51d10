"""One row of the table of results: what the paper says, what a run did."""

import json
import os
import re
from typing import Any

from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import write_json

REQUIRED = ("table", "method", "dataset", "setting")
OPTIONAL = ("paper", "paper_interval", "note")
METADATA = ("training_seconds", "seed", "machine", "commit", "dataset_fingerprint", "finished")


class ResultsRow:
    """Evidence that fits together.

    Args:
        folder: str. `results/<row>`.
        description: dict. `table`, `method`, `dataset`, `setting`, and perhaps `paper` and
            `paper_interval` (per cent) and `note`.
        metadata: dict. The run's.
        evaluation: `Evaluation`. The run's.

    Raises:
        ValueError: if something is missing, or does not fit.
    """

    def __init__(
        self,
        folder: str,
        description: dict[str, Any],
        metadata: dict[str, Any],
        evaluation: Evaluation,
    ) -> None:
        self.folder = folder
        self.fields = {name: description.get(name) for name in (*REQUIRED, *OPTIONAL)}
        self.metadata = metadata
        self.evaluation = evaluation
        self._check(description)

    def _check(self, description: dict[str, Any]) -> None:
        where = os.path.join(self.folder, "row.json")
        unknown = sorted(set(description) - set(self.fields))
        if unknown:
            raise ValueError(f"{where} has an unknown field {unknown[0]!r}.")
        for name in REQUIRED:
            if not isinstance(self.fields[name], str) or not self.fields[name]:
                raise ValueError(f"{where} needs a text {name!r}; give it with --{name}.")
        for name in ("paper", "paper_interval"):
            value = self.fields[name]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and 0 <= value <= 100):
                raise ValueError(f"{where}: {name!r} must be in per cent; received {value!r}.")
        for name in METADATA:
            if name not in self.metadata:
                raise ValueError(f"{self.folder}/metadata.json has no {name!r}.")
        if self.metadata["dataset_fingerprint"] != self.evaluation.dataset_fingerprint:
            raise ValueError(
                f"{self.folder}: the run was trained on one dataset and evaluated on another "
                "(their fingerprints differ). Collect the evidence of one run."
            )
        claimed = re.search(r"(\d+)-way (\d+)-shot", self.fields["setting"])
        if claimed and claimed.group() != self.evaluation.setting:
            raise ValueError(
                f"{where} says {self.fields['setting']!r}, but evaluation.json is of "
                f"{self.evaluation.setting} episodes."
            )

    @classmethod
    def load(cls, folder: str) -> "ResultsRow":
        """Reads a row's folder.

        Raises:
            FileNotFoundError: naming the file that is missing.
            ValueError: if a file is malformed or does not fit the others.
        """
        if not os.path.isfile(os.path.join(folder, "config.gin")):
            raise FileNotFoundError(f"{folder} has no config.gin; collect the run again.")
        return cls(
            folder,
            cls.description(folder),
            _read(os.path.join(folder, "metadata.json")),
            Evaluation.load(os.path.join(folder, "evaluation.json")),
        )

    @staticmethod
    def description(folder: str) -> dict[str, Any]:
        """What `row.json` says."""
        return _read(os.path.join(folder, "row.json"))

    def save(self) -> None:
        """Writes the row's JSON files; the caller copies `config.gin`."""
        write_json(os.path.join(self.folder, "row.json"), self.fields)
        write_json(os.path.join(self.folder, "metadata.json"), self.metadata)
        self.evaluation.save(os.path.join(self.folder, "evaluation.json"))

    @property
    def accuracy(self) -> float:
        """Per cent."""
        return 100 * self.evaluation.mean

    @property
    def interval(self) -> float:
        """Per cent."""
        return 100 * self.evaluation.interval


def _read(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No {path}; collect the run again with --collect.")
    with open(path, encoding="utf-8") as file:
        try:
            value = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold an object; it holds {type(value).__name__}.")
    return value
