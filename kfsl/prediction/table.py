"""Predictions as a table for people, as CSV and as JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from kfsl.prediction.rejection import NONE

#: With more classes than that, a printed row names the likeliest ones only.
MOST_COLUMNS = 8
LIKELIEST = 3
#: Rows that are printed when a file holds them all.
MOST_ROWS = 50


@dataclasses.dataclass(frozen=True)
class PredictionTable:
    """Probabilities of classes for each image.

    Args:
        images: list of str. Names of the images.
        classes: tuple of str.
        probabilities: float array, `[images, classes]`.
        scores: float array, `[images]`, or None. What decides whether an image is of none of the
            classes, where that was asked.
        rejected: bool array, `[images]`, or None. Whether it is; its probabilities say what it
            would be if it had to be one of them.

    Example:
    ```python
    import numpy as np
    from kfsl.prediction.table import PredictionTable

    table = PredictionTable(["1.png"], ("cat", "dog"), np.array([[0.25, 0.75]]))
    assert table.csv().splitlines()[1] == "1.png,dog,0.750000,0.250000,0.750000"
    ```
    """

    images: Sequence[str]
    classes: Sequence[str]
    probabilities: np.ndarray
    scores: np.ndarray | None = None
    rejected: np.ndarray | None = None

    @property
    def predictions(self) -> list[str]:
        """The likeliest class of each image, or that it is of none of them."""
        likeliest = [self.classes[index] for index in self.probabilities.argmax(axis=-1)]
        if self.rejected is None:
            return likeliest
        return [NONE if none else name for name, none in zip(likeliest, self.rejected, strict=True)]

    def text(self, rows: int | None = None) -> str:
        """The first rows, in columns of even width.

        Args:
            rows: int or None for all.
        """
        shown = list(zip(self.images, self.predictions, self.probabilities, strict=True))[:rows]
        if len(self.classes) <= MOST_COLUMNS:
            lines = [["image", "prediction", *self.classes]]
            lines += [[image, best, *(f"{p:.3f}" for p in row)] for image, best, row in shown]
        else:
            lines = [["image", "prediction", "likeliest classes"]]
            lines += [[image, best, self._likeliest(row)] for image, best, row in shown]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def csv(self) -> str:
        """One line an image: its name, the prediction, the largest probability, every class's.

        The score comes last, where there is one.
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        scored = [] if self.scores is None else ["score"]
        named = (f"p({name})" for name in self.classes)
        writer.writerow(["image", "prediction", "probability", *named, *scored])
        rows = zip(self.images, self.predictions, self.probabilities, strict=True)
        for place, (image, best, row) in enumerate(rows):
            score = [f"{self.scores[place]:.6g}"] if scored else []
            writer.writerow([image, best, f"{row.max():.6f}", *(f"{p:.6f}" for p in row), *score])
        return file.getvalue()

    def json(self, beside: dict[str, Any]) -> str:
        """The predictions, and what is said beside them.

        Args:
            beside: dict that JSON can hold.
        """
        rows = [
            {
                "image": image,
                "prediction": best,
                "probabilities": {
                    name: round(float(p), 6) for name, p in zip(self.classes, row, strict=True)
                },
            }
            for image, best, row in zip(
                self.images, self.predictions, self.probabilities, strict=True
            )
        ]
        if self.scores is not None:
            for row, score in zip(rows, self.scores, strict=True):
                row["score"] = round(float(score), 6)
        values = {"classes": list(self.classes), **beside, "predictions": rows}
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    def _likeliest(self, row: np.ndarray) -> str:
        best = np.argsort(-row, kind="stable")[:LIKELIEST]
        return ", ".join(f"{self.classes[index]} {row[index]:.3f}" for index in best)
