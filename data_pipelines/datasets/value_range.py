"""How images of more than 8 bits become 8 bits: one rule for a whole set."""

from dataclasses import dataclass

import numpy as np

#: Largest values of 8, 10, 12, 14 and 16 bits.
INTEGERS = (255, 1023, 4095, 16383, 65535)
FLOATS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))
#: Filters and rounding may step a little over the end of a range; of wide ones by a quarter of a
#: step of 8 bits at most.
TOLERANCE, MOST_SLACK = 1e-3, 0.25
#: Floats that reach no further are of no wide range: they are 8 bits that a filter overshot.
OVERSHOT = 510.0


@dataclass(frozen=True)
class ValueRange:
    """The values that occur in images of more than 8 bits.

    All images of a set are scaled alike, from the narrowest usual range that holds all of their
    values: integers from 0 to 255, 1023, 4095, 16383 or 65535, floats from 0..1, -1..1, 0..255 or
    0..65535.

    Args:
        largest: int or None. The largest integer, `None` where no image has integers.
        floats: tuple of two floats or None. The smallest and the largest float.

    Example:
    ```python
    import numpy as np
    from data_pipelines.datasets.value_range import ValueRange

    twelve_bits = np.array([0, 2048, 4095], "uint16")
    found = ValueRange.of(twelve_bits)
    assert found.eight_bits(twelve_bits).tolist() == [0, 128, 255]
    ```
    """

    largest: int | None = None
    floats: tuple[float, float] | None = None

    @classmethod
    def of(cls, pixels: np.ndarray) -> "ValueRange":
        """The values of one image.

        Args:
            pixels: array of integers or floats.

        Raises:
            ValueError: they fit in no usual range.
        """
        low, high = pixels.min(initial=0), pixels.max(initial=0)
        if np.issubdtype(pixels.dtype, np.floating):
            found = cls(floats=(float(low), float(high)))
        elif low < 0:
            raise ValueError(f"its values go from {low} to {high}, expected integers from 0")
        else:
            found = cls(largest=int(high))
        found.chosen()
        return found

    def joined(self, other: "ValueRange") -> "ValueRange":
        """The values of both together.

        Raises:
            ValueError: they fit in no usual range together.
        """
        integers = [each.largest for each in (self, other) if each.largest is not None]
        floats = [each.floats for each in (self, other) if each.floats is not None]
        both = ValueRange(
            max(integers, default=None),
            (min(low for low, _ in floats), max(high for _, high in floats)) if floats else None,
        )
        both.chosen()
        return both

    def chosen(self) -> dict[str, list[float]]:
        """The ranges that are scaled to 0..255.

        Returns:
            dict with `integers`, `floats` or both, each the two ends of a range.

        Raises:
            ValueError: the values fit in no usual range.
        """
        ranges: dict[str, list[float]] = {}
        if self.largest is not None:
            ranges["integers"] = [0, self._integer_end()]
        if self.floats is not None:
            ranges["floats"] = list(self._float_ends())
        return ranges

    def eight_bits(self, pixels: np.ndarray) -> np.ndarray:
        """Scales pixels to 0..255.

        Args:
            pixels: array of integers or floats.

        Returns:
            uint8 array of the same shape.
        """
        kind = "floats" if np.issubdtype(pixels.dtype, np.floating) else "integers"
        low, high = self.chosen()[kind]
        scaled = (pixels.astype(np.float64) - low) * (255.0 / (high - low))
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)

    def _integer_end(self) -> int:
        for end in INTEGERS:
            if self.largest <= end:
                return end
        raise ValueError(
            f"its values reach {self.largest}, expected integers of at most 16 bits (65535)"
        )

    def _float_ends(self) -> tuple[float, float]:
        least, most = self.floats
        for low, high in FLOATS:
            slack = min(TOLERANCE * (high - low), MOST_SLACK)
            # Never true for what is not a number.
            if low - slack <= least and most <= high + slack:
                if high > OVERSHOT >= most:
                    break
                return low, high
        raise ValueError(
            f"its values go from {least:g} to {most:g}, expected floats within 0..1, -1..1, "
            "0..255 or 0..65535"
        )
