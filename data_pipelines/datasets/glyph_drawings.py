"""Drawings of characters: a face and a small affine change for each."""

import numpy as np
from PIL import Image

from data_pipelines.datasets.glyph_fonts import CANVAS, OVERSAMPLING, candidate_faces, glyph_canvas

DRAWINGS = 20
MAX_ROTATION = np.deg2rad(10.0)
MAX_SHEAR = 0.12
MAX_LOG_SCALE = 0.12
MAX_SHIFT = 2.0 * OVERSAMPLING


def draw_character(character: str, seed: int = 0) -> np.ndarray:
    """All drawings of one character.

    Drawings take the character's faces in turn, in a shuffled order, so that each face is used
    about equally often. Each is rotated, sheared, scaled (both axes apart) and shifted a little.

    Args:
        character: str of length 1.
        seed: int. Drawings depend on it and on the code point alone.

    Returns:
        uint8 array of shape `[20, 28, 28, 1]`, ink 0 on paper 255.

    Example:
    ```python
    from data_pipelines.datasets.glyph_drawings import draw_character

    assert draw_character("A").shape == (20, 28, 28, 1)
    ```
    """
    # RandomState: its stream is frozen, so the drawings never change with NumPy.
    random = np.random.RandomState([seed, ord(character)])
    faces = random.permutation(candidate_faces()[character])
    drawings = [
        _distort(glyph_canvas(character, str(faces[i % len(faces)])), random.uniform(-1, 1, 6))
        for i in range(DRAWINGS)
    ]
    return 255 - np.stack(drawings)[..., None]


def _distort(canvas: Image.Image, amounts: np.ndarray) -> np.ndarray:
    """Applies the affine change that six numbers in [-1, 1] describe, and shrinks to 28x28."""
    angle, shear = MAX_ROTATION * amounts[0], MAX_SHEAR * amounts[1]
    scale = np.exp(MAX_LOG_SCALE * amounts[2:4])
    cosine, sine = np.cos(angle), np.sin(angle)
    # Pillow maps pixels of the result to pixels of the source.
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ [[1.0, shear], [0.0, 1.0]] / scale
    centre = np.full(2, CANVAS / 2)
    offset = centre - matrix @ (centre + MAX_SHIFT * amounts[4:6])
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    # Rounded, so that the last bits of the sine do not depend on the machine's libm.
    moved = canvas.transform(
        canvas.size,
        Image.Transform.AFFINE,
        tuple(round(float(c), 6) for c in coefficients),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(moved.reduce(OVERSAMPLING))
