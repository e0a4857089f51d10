"""Trust region policy optimisation: one step."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np

from kfsl.argument_checks import check_whole


class Surface(Protocol):
    """What is to become smaller, near a point: such as `MetaPolicy`."""

    point: np.ndarray

    def surrogate(self) -> tuple[float, float]:
        """The loss at the point, and the divergence from where the step began."""

    def gradient(self) -> np.ndarray:
        """Of the loss."""

    def fisher_product(self, vector: np.ndarray, damping: float = 0.0) -> np.ndarray:
        """The Hessian of the divergence times a vector."""


@dataclasses.dataclass(frozen=True)
class StepReport:
    """What a step did.

    Args:
        improvement: float. By how much the loss fell; 0 for a step that was refused.
        divergence: float. From where it began.
        gradient_norm: float.
        halvings: int or None. Times that the step was shortened; None: it was refused.
    """

    improvement: float
    divergence: float
    gradient_norm: float
    halvings: int | None


@dataclasses.dataclass(frozen=True)
class TrustRegion:
    """Natural gradient steps that keep the divergence under a bound.

    The direction solves `F d = g` by conjugate gradients; its length makes the divergence's
    quadratic model equal to the bound, and is shortened until the loss has fallen and the
    divergence is under the bound. A step for which neither comes about is taken back.

    Args:
        divergence: float. The bound.
        iterations: int. Of conjugate gradients.
        damping: float. Added to the diagonal of the Fisher matrix.
        trials: int. Lengths that are tried.
        shortening: float. From one length to the next.

    Raises:
        ValueError: for numbers out of range.

    Reference:
        [Schulman et al., 2015](https://arxiv.org/abs/1502.05477), section 6 and appendix C.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.trust_region import TrustRegion

    class Bowl:
        \"\"\"Loss w.w/2, and the squared distance from 1 as divergence.\"\"\"

        point = np.ones(2)

        def surrogate(self):
            return float(self.point @ self.point) / 2, float(np.sum((self.point - 1) ** 2)) / 2

        def gradient(self):
            return self.point

        def fisher_product(self, vector, damping=0.0):
            return (1 + damping) * vector

    bowl = Bowl()
    report = TrustRegion(divergence=0.01).step(bowl)
    assert np.allclose(bowl.point, 1 - 0.1, atol=0.021) and report.divergence <= 0.01
    ```
    """

    divergence: float = 0.01
    iterations: int = 10
    damping: float = 1e-5
    trials: int = 15
    shortening: float = 0.8

    def __post_init__(self) -> None:
        if not self.divergence > 0:
            raise ValueError(f"`divergence` must be positive; received {self.divergence}.")
        if not 0 < self.shortening < 1:
            raise ValueError(f"`shortening` must lie in (0, 1); received {self.shortening}.")
        if not self.damping >= 0:
            raise ValueError(f"`damping` must be at least 0; received {self.damping}.")
        for name in ("iterations", "trials"):
            check_whole(f"TrustRegion.{name}", getattr(self, name), 1)

    def step(self, surface: Surface) -> StepReport:
        """Moves the point.

        Args:
            surface: `Surface`; its `point` is changed, or left where it was.

        Returns:
            `StepReport`.
        """
        start, (before, _) = surface.point, surface.surrogate()
        gradient = surface.gradient()
        norm = float(np.linalg.norm(gradient))

        def product(vector: np.ndarray) -> np.ndarray:
            return surface.fisher_product(vector, self.damping)

        direction = conjugate_gradients(product, gradient, self.iterations)
        curvature = 0.5 * float(direction @ product(direction))
        if not curvature > 0:  # No gradient, or none that is finite.
            return StepReport(0.0, 0.0, norm, None)
        whole = direction * np.sqrt(self.divergence / curvature)
        for trial in range(self.trials):
            surface.point = start - self.shortening**trial * whole
            loss, divergence = surface.surrogate()
            if loss < before and divergence < self.divergence:
                return StepReport(before - loss, divergence, norm, trial)
        surface.point = start
        return StepReport(0.0, 0.0, norm, None)


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    iterations: int = 10,
    tolerance: float = 1e-10,
) -> np.ndarray:
    """Solves `A x = target`, of a positive matrix that is known by its products.

    Args:
        product: function from a vector to `A` times it.
        target: array, `[n]`.
        iterations: int.
        tolerance: float. Of the squared residual, at which to end.

    Returns:
        Array, `[n]`.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.trust_region import conjugate_gradients

    matrix = np.array([[3.0, 1.0], [1.0, 2.0]])
    found = conjugate_gradients(lambda vector: matrix @ vector, np.array([1.0, 0.0]), 2)
    assert np.allclose(matrix @ found, [1.0, 0.0])
    ```
    """
    solution = np.zeros_like(target)
    residual = target.copy()
    direction = target.copy()
    squared = residual @ residual
    for _ in range(iterations):
        if squared < tolerance:
            break
        image = product(direction)
        length = squared / (direction @ image)
        solution = solution + length * direction
        residual = residual - length * image
        after = residual @ residual
        direction = residual + after / squared * direction
        squared = after
    return solution
