"""One run's evidence: what the paper says, what the run did."""

import os
import re
from typing import Any

from kfsl.evidence.paper_row import PaperRow, row_name
from kfsl.evidence.registry import row_of_folder
from kfsl.evidence.validation_curve import ValidationCurve
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import read_json, write_json

REQUIRED = ("table", "method", "dataset", "setting")
OPTIONAL = ("paper", "paper_interval", "note")
METADATA = ("training_seconds", "seed", "machine", "commit", "dataset_fingerprint", "finished")


class ResultsRow:
    """Evidence that fits together.

    Args:
        folder: str. `results/<row>`.
        description: dict. `table`, `method`, `dataset`, `setting`, and perhaps `paper` and
            `paper_interval` (accuracies in per cent) and `note`.
        metadata: dict. The run's.
        evaluation: `Evaluation`. The run's.
        curve: `ValidationCurve` or None. The run's.

    Raises:
        ValueError: if something is missing, or does not fit.
    """

    def __init__(
        self,
        folder: str,
        description: dict[str, Any],
        metadata: dict[str, Any],
        evaluation: Evaluation,
        curve: ValidationCurve | None = None,
    ) -> None:
        self.folder = folder
        self.curve = curve
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
            per_cent = self.evaluation.metric == "accuracy"
            if value is not None and not (number and (0 <= value <= 100 or not per_cent)):
                unit = "in per cent" if per_cent else "a number"
                raise ValueError(f"{where}: {name!r} must be {unit}; received {value!r}.")
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
            ValidationCurve.load(os.path.join(folder, "validation.json")),
        )

    @staticmethod
    def description(folder: str) -> dict[str, Any]:
        """What `row.json` says, and the registry of the paper's row, if it is one."""
        path = os.path.join(folder, "row.json")
        known = row_of_folder(_name(folder))
        told = _read(path) if os.path.isfile(path) or known is None else {}
        return told if known is None else {**told, **known.description}

    @property
    def name(self) -> str:
        """Which row it is: the folder's name, without the seed."""
        return row_name(_name(self.folder)) if self.paper_row else _name(self.folder)

    @property
    def paper_row(self) -> PaperRow | None:
        """The paper's row that it reproduces, if the registry has it."""
        return row_of_folder(_name(self.folder))

    def save(self) -> None:
        """Writes the row's JSON files; the caller copies `config.gin`."""
        told = {"note": self.fields["note"]} if self.paper_row else self.fields
        write_json(os.path.join(self.folder, "row.json"), told)
        if self.curve is not None:
            self.curve.save(os.path.join(self.folder, "validation.json"))
        write_json(os.path.join(self.folder, "metadata.json"), self.metadata)
        self.evaluation.save(os.path.join(self.folder, "evaluation.json"))


def _name(folder: str) -> str:
    return os.path.basename(os.path.normpath(folder))


def _read(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No {path}; collect the run again with --collect.")
    return read_json(path, "mend it, or collect the run again with --collect")
