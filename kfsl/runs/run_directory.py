"""What a run leaves behind, and where."""

import json
import os
from collections.abc import Mapping
from typing import Any

from kfsl.runs.environment import now
from kfsl.runs.files import read_json, read_text, write_json, write_text
from kfsl.runs.grown_epochs import first_difference, grown_epochs
from kfsl.runs.measure import measures

#: What metadata say of a training that came to its end.
ENDED = ("finished", "steps", "training_seconds")


class RunDirectoryError(ValueError):
    """A run directory that is not one, or is one of another configuration."""


class RunDirectory:
    """The folder of one training run; a command given it needs nothing else.

    - `config.gin`: the whole configuration; `operative.gin`: what of it was used.
    - `metadata.json`: versions, commit, seed, threads, dataset fingerprint, command line.
    - `checkpoints/`: what resumes; `best/learner.keras`: the best learner by validation;
      `kept/`: those of the epochs in `train.keep_epochs`.
    - `tensorboard/`, `metrics.jsonl` (one line an epoch).
    - `evaluation/<split>.json`, `calibration.json`, `saved_model/`, `onnx/`, `litert/`.
    - `training.lock`: who trains into it now; locks nothing once that process has ended.

    Args:
        path: str. The folder; it need not exist yet.

    Example:
    ```python
    import tempfile
    from kfsl.runs.run_directory import RunDirectory

    run = RunDirectory(tempfile.mkdtemp())
    run.start("WAYS = 5")
    assert run.config == "WAYS = 5"
    ```
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def _in(self, *parts: str) -> str:
        return os.path.join(self.path, *parts)

    @property
    def config_path(self) -> str:
        return self._in("config.gin")

    @property
    def operative_path(self) -> str:
        return self._in("operative.gin")

    @property
    def metadata_path(self) -> str:
        return self._in("metadata.json")

    @property
    def checkpoints(self) -> str:
        return self._in("checkpoints")

    @property
    def best_learner(self) -> str:
        return self._in("best", "learner.keras")

    def kept_learner(self, epoch: int) -> str:
        """The file of the learner as it was after an epoch, from 1."""
        return self._in("kept", f"epoch_{epoch:05d}.keras")

    @property
    def tensorboard(self) -> str:
        return self._in("tensorboard")

    @property
    def metrics_path(self) -> str:
        return self._in("metrics.jsonl")

    @property
    def lock_path(self) -> str:
        return self._in("training.lock")

    @property
    def saved_model(self) -> str:
        return self.exported("saved_model")

    def exported(self, format_name: str) -> str:
        """The folder of the export in a format."""
        return self._in(format_name)

    def evaluation_path(self, split: str) -> str:
        return self._in("evaluation", f"{split}.json")

    @property
    def calibration_path(self) -> str:
        return self._in("calibration.json")

    @property
    def exists(self) -> bool:
        return os.path.isfile(self.config_path)

    @property
    def config(self) -> str:
        """The text of `config.gin`.

        Raises:
            RunDirectoryError: if this is no run directory.
        """
        if not self.exists:
            raise RunDirectoryError(
                f"{self.path!r} is not a run directory: it has no config.gin. Train into it "
                f"first: python -m kfsl.train --gin_file=FILE --run_dir={self.path}"
            )
        return read_text(self.config_path)

    @property
    def metadata(self) -> dict[str, Any]:
        return read_json(self.metadata_path) if os.path.isfile(self.metadata_path) else {}

    def check(self, config: str) -> None:
        """Checks that the folder can hold a run of this configuration.

        It may ask for more `train.epochs` than the run was begun with, and differ in no more.

        Args:
            config: str. The whole configuration, as gin prints it.

        Raises:
            RunDirectoryError: if it holds a run of another configuration, is a folder with files
                of something else, or has a name that TensorFlow takes for a pattern.
        """
        if self.exists:
            difference = first_difference(self.config, config)
            if difference and not self._grown_epochs(config):
                raise RunDirectoryError(
                    f"{self.path!r} holds a run of another configuration: {difference}. Only "
                    "train.epochs may grow, or a policy's train_policy.iterations. Name another "
                    "folder with --run_dir, or delete this one."
                )
        elif patterns := sorted(set(self.path) & set("*?[")):
            # Looking for files like these it finds no checkpoint, and deletes none.
            raise RunDirectoryError(
                f"{self.path!r} has {patterns[0]!r} in its name, which TensorFlow takes for a "
                "pattern where it looks for checkpoints; name another --run_dir."
            )
        elif os.path.exists(self.path) and not os.path.isdir(self.path):
            raise RunDirectoryError(f"{self.path!r} is a file; name a folder with --run_dir.")
        elif os.path.isdir(self.path) and os.listdir(self.path):
            raise RunDirectoryError(
                f"{self.path!r} is not empty and not a run directory; name another --run_dir."
            )

    def start(self, config: str) -> None:
        """Makes the folder, after `check`; of more epochs it takes the number.

        Args:
            config: str. The whole configuration, as gin prints it.

        Raises:
            RunDirectoryError: as `check`.
        """
        self.check(config)
        if self.exists:
            grown = self._grown_epochs(config)
            if not grown:
                return
            # The metadata first: a process that dies in between tells it once more, not never.
            self._record_growth(*grown)
        os.makedirs(self.path, exist_ok=True)
        write_text(self.config_path, config)

    def _grown_epochs(self, config: str) -> tuple[int, int] | None:
        known = read_text(self.operative_path) if os.path.isfile(self.operative_path) else ""
        return grown_epochs(self.config, config, known)

    def _record_growth(self, before: int, after: int) -> None:
        told = self.metadata.get("epochs_grown", [])
        growth = {"from": before, "to": after, "when": now()}
        self.update_metadata({"epochs_grown": [*told, growth]})

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return "finished" in self.metadata

    def end(self, steps: int) -> None:
        """Has the metadata say that training came to its end, after so many steps in all."""
        told = (now(), steps, self.training_seconds())
        self.update_metadata(dict(zip(ENDED, told, strict=True)))

    def reopen(self) -> None:
        """Takes back that training ended, as the metadata say: it goes on."""
        values = self.metadata
        if any(name in values for name in ENDED):
            write_json(self.metadata_path, {k: v for k, v in values.items() if k not in ENDED})

    def update_metadata(self, values: Mapping[str, Any]) -> None:
        write_json(self.metadata_path, {**self.metadata, **values})

    def write_operative(self, operative: str) -> None:
        write_text(self.operative_path, operative)

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        with open(self.metrics_path, "a", encoding="utf-8") as file:
            file.write(json.dumps(dict(values)) + "\n")

    def training_seconds(self) -> float:
        """Seconds spent in training steps, over all sessions of the run."""
        return round(sum(line.get("seconds", 0.0) for line in self.metrics()), 1)

    def trained_epochs(self) -> int:
        """The last epoch that `metrics.jsonl` tells of; 0 if there is none."""
        return max((int(line.get("epoch", 0)) for line in self.metrics()), default=0)

    def truncate_metrics(self, step: int) -> None:
        """Drops the lines of `metrics.jsonl` after `step`: they will be written again."""
        if not os.path.isfile(self.metrics_path):
            return
        with open(self.metrics_path, encoding="utf-8") as file:
            lines = file.readlines()
        write_text(self.metrics_path, "".join(line for line in lines if _step(line) <= step))

    @property
    def validation_metric(self) -> str:
        """What validation measures; accuracy where nothing was validated yet."""
        lines = self.metrics()
        names = (measure.name for measure in measures())
        found = (name for name in names if any(f"val_{name}" in line for line in lines))
        return next(found, "accuracy")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, one an epoch."""
        if not os.path.isfile(self.metrics_path):
            return []
        with open(self.metrics_path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if _step(line) < float("inf")]


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")  # A line cut short when the run was killed.
