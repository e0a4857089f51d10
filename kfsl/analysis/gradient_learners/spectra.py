"""How the energy of a matrix is spread: over singular values, and over frequencies."""

import math

import numpy as np

#: Spatial frequencies, in cycles a row or column: those of an axis end at 0.5.
RADII = tuple(round(0.05 * i, 2) for i in range(15))


def spectrum(matrix: np.ndarray) -> list[float]:
    """The shares that the singular values, from the largest, have in the energy.

    Args:
        matrix: array, `[n1, n2]`.

    Returns:
        list of float, squared singular values over their sum; zeros for a zero matrix.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.gradient_learners.spectra import spectrum

    assert np.allclose(spectrum(np.diag([1.0, 3.0])), [0.9, 0.1])
    ```
    """
    energies = np.square(np.linalg.svd(_double(matrix), compute_uv=False))
    total = energies.sum()
    return (energies / total if total else energies).tolist()


def effective_rank(matrix: np.ndarray) -> float:
    """The exponential of the entropy of the singular values' shares in their sum.

    Args:
        matrix: array, `[n1, n2]`.

    Returns:
        float, from 1 (rank 1) to `min(n1, n2)` (all singular values alike); 0 for zeros.

    Reference:
        Roy and Vetterli, The effective rank, EUSIPCO 2007.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.gradient_learners.spectra import effective_rank

    assert abs(effective_rank(np.eye(4)) - 4.0) < 1e-9
    ```
    """
    values = np.linalg.svd(_double(matrix), compute_uv=False)
    if not values.sum():
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def energy_above(matrix: np.ndarray, radii: tuple[float, ...] = RADII) -> list[float]:
    """The share of the energy of the 2-D DFT at frequencies of at least some radius.

    Rows and columns of a kernel are channels, whose order means nothing; the singular values
    do not depend on it, this does.

    Args:
        matrix: array, `[n1, n2]`.
        radii: tuple of float, in cycles a row or column.

    Returns:
        list of float, in 0..1; zeros for a zero matrix.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.gradient_learners.spectra import energy_above

    # A constant has the frequency 0, a checkerboard 0.5 in both axes.
    assert energy_above(np.ones((4, 4)), (0.0, 0.1)) == [1.0, 0.0]
    board = np.where(np.indices((4, 4)).sum(0) % 2, 1.0, -1.0)
    assert energy_above(board, (0.7, 0.8)) == [1.0, 0.0]
    ```
    """
    energies = np.square(np.abs(np.fft.fft2(_double(matrix))))
    rows, columns = (np.fft.fftfreq(size) for size in matrix.shape)
    distances = np.hypot(rows[:, None], columns[None, :])
    total = energies.sum()
    if not total:
        return [0.0 for _ in radii]
    return [float(energies[distances >= radius].sum() / total) for radius in radii]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """The cosine of the angle between two arrays; 0 where one is zero.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.gradient_learners.spectra import cosine

    assert abs(cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) - 0.5**0.5) < 1e-9
    ```
    """
    first, second = _double(first), _double(second)
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.sum(first * second) / lengths) if lengths else 0.0


def decibels(signal: np.ndarray, noise: np.ndarray) -> float | None:
    """The ratio of two energies in decibels; None where one is zero.

    Example:
    ```python
    import numpy as np
    from kfsl.analysis.gradient_learners.spectra import decibels

    assert abs(decibels(np.array([10.0]), np.array([1.0])) - 20.0) < 1e-9
    ```
    """
    energies = [float(np.sum(np.square(_double(each)))) for each in (signal, noise)]
    return 10 * math.log10(energies[0] / energies[1]) if all(energies) else None


def _double(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, "float64")
