"""Files for TensorBoard's projector: vectors, what is known of each, and small pictures."""

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

#: Pixels of a picture; the projector takes sprites of at most 8192 on a side.
THUMBNAIL = 48
MOST = (8192 // THUMBNAIL) ** 2


def write_projector(
    folder: str,
    name: str,
    vectors: np.ndarray,
    columns: Mapping[str, Sequence[str]],
    pictures: Sequence[np.ndarray],
) -> list[str]:
    """Writes what TensorBoard's projector shows, if the folder is a run of its own to it.

    Args:
        folder: str. In TensorBoard's log folder; made if it is not there.
        name: str. Of the vectors.
        vectors: float array, `[n, size]`.
        columns: mapping from what is known of the vectors to a text for each.
        pictures: sequence of uint8 arrays, `[THUMBNAIL, THUMBNAIL, 3]`, one for each.

    Returns:
        list of str, the files.

    Raises:
        ValueError: for more pictures than the projector can show.
    """
    if len(pictures) > MOST:
        raise ValueError(f"The projector shows at most {MOST} pictures; received {len(pictures)}.")
    from tensorboard.plugins import projector

    os.makedirs(folder, exist_ok=True)
    files = [os.path.join(folder, file) for file in ("vectors.tsv", "metadata.tsv", "sprite.png")]
    np.savetxt(files[0], vectors, fmt="%.6g", delimiter="\t")
    with open(files[1], "w", encoding="utf-8") as file:
        if len(columns) > 1:  # A single column has no header, says the projector.
            file.write("\t".join(columns) + "\n")
        for row in zip(*columns.values(), strict=True):
            # A tab or a new line would begin another cell.
            file.write("\t".join(" ".join(cell.split()) for cell in row) + "\n")
    Image.fromarray(sheet(pictures)).save(files[2])
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add(
        tensor_name=name,
        tensor_path=os.path.basename(files[0]),
        metadata_path=os.path.basename(files[1]),
    )
    embedding.sprite.image_path = os.path.basename(files[2])
    embedding.sprite.single_image_dim.extend([THUMBNAIL, THUMBNAIL])
    projector.visualize_embeddings(folder, config)
    return [*files, os.path.join(folder, "projector_config.pbtxt")]


def sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size side by side, row by row, on a square that holds them.

    Args:
        pictures: sequence of uint8 arrays, `[H, W, C]`.

    Returns:
        uint8 array, `[side * H, side * W, C]`; what is left of it is white.

    Example:
    ```python
    import numpy as np
    from kfsl.figures.projector import sheet

    assert sheet([np.zeros((2, 2, 3), "uint8")] * 3)[2:, 2:].min() == 255
    ```
    """
    height, width, channels = pictures[0].shape
    side = math.ceil(math.sqrt(len(pictures)))
    found = np.full((side * height, side * width, channels), 255, "uint8")
    for place, picture in enumerate(pictures):
        top, left = place // side * height, place % side * width
        found[top : top + height, left : left + width] = picture
    return found


def thumbnail(images: Sequence[np.ndarray], size: int = THUMBNAIL) -> np.ndarray:
    """Images as one small picture.

    Args:
        images: sequence of uint8 arrays, `[H, W, C]`, `C` 1 or 3.
        size: int. Pixels on each side. Defaults to `THUMBNAIL`.

    Returns:
        uint8 array, `[size, size, 3]`.
    """
    colour = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
    whole = Image.fromarray(sheet(colour))
    return np.asarray(whole.resize((size, size), Image.Resampling.LANCZOS))
