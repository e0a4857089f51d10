"""A graph that a format has no operations for."""

from collections.abc import Iterable


class UnconvertibleError(ValueError):
    """Says which operations are in the way, or else what the converter says.

    Args:
        operations: iterable of str. Names of TensorFlow's operations.
        reason: str. Where none is known.

    Example:
    ```python
    from kfsl.serving.unconvertible import UnconvertibleError

    assert str(UnconvertibleError(["MatrixInverse"])) == "the operation MatrixInverse"
    ```
    """

    def __init__(self, operations: Iterable[str], reason: str = "") -> None:
        self.operations = sorted(set(operations))
        words = "the operation" if len(self.operations) == 1 else "the operations"
        told = " ".join(reason.split())[:200]
        super().__init__(f"{words} {', '.join(self.operations)}" if self.operations else told)
