"""The pixels of image files, in one shape."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from data_pipelines.datasets.value_range import ValueRange

#: How the modes of more than 8 bits begin.
DEEP = ("I", "F")

#: What the eight orientations of a camera ask for.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: Of 255 grey levels; 12 bits read as 16 reach 16.
BLANK_CONTRAST = 16
BLANK_SHARE = 0.999


class Headers(NamedTuple):
    """What the headers of image files say: formats, and the values of the deep ones."""

    formats: Mapping[str, int]
    values: ValueRange


def require_folders(source: Path, names: tuple[str, ...], layout: str) -> None:
    """Checks that a source has the folders of its layout.

    Raises:
        ValueError: one is missing; the message shows the layout.
    """
    missing = [name for name in names if not (source / name).is_dir()]
    if missing:
        raise ValueError(f"{source} has no folder {missing[0]}/; expected {layout}.")


def check_headers(files: Iterable[Path]) -> Headers:
    """Opens each file before the long work, so that a broken one shows at once.

    Only images of more than 8 bits are decoded: their values decide how all of them are scaled.

    Args:
        files: iterable of `pathlib.Path`.

    Returns:
        `Headers`.

    Raises:
        ValueError: a file is empty or no image of a known format, or its values fit in no usual
            range; the message names it.
    """
    formats: Counter[str] = Counter()
    values = ValueRange()
    for file in files:
        with _reading(file), Image.open(file) as opened:
            formats[str(opened.format).lower()] += 1
            if opened.mode.startswith(DEEP):
                values = values.joined(ValueRange.of(np.asarray(opened)))
    return Headers(formats, values)


def read_image(
    file: Path, image_shape: tuple[int, int, int], values: ValueRange | None = None
) -> np.ndarray:
    """Pixels of an image file in the wanted shape.

    The camera's orientation is applied, transparency is laid over white, images of more than 8
    bits are scaled from the range of their set. Another size is scaled with an antialiased Lanczos
    filter to exactly the wanted one: the aspect ratio is not kept, nothing is cropped. Of an
    animation the first frame counts.

    Args:
        file: `pathlib.Path`. Any format that Pillow reads.
        image_shape: tuple `(H, W, C)` in pixels, `C` 1 (grey) or 3 (RGB).
        values: `ValueRange` or None. Of all images of the set; `None`: this image is the set.
            Defaults to `None`.

    Returns:
        uint8 array of that shape.

    Raises:
        ValueError: the file is no image that Pillow can read; the message names it.

    Example:
    ```python
    import tempfile
    from pathlib import Path
    from PIL import Image
    from data_pipelines.datasets.image_files import read_image

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "red.png"
        Image.new("RGB", (50, 40), "red").save(file)
        assert read_image(file, (28, 28, 3))[0, 0].tolist() == [255, 0, 0]
    ```
    """
    with _reading(file), Image.open(file) as opened:
        return fitted(opened, image_shape, values)


def fitted(
    opened: Image.Image, image_shape: tuple[int, int, int], values: ValueRange | None = None
) -> np.ndarray:
    """Pixels of an open image in the wanted shape; see `read_image`.

    Args:
        opened: `PIL.Image.Image`.
        image_shape: tuple `(H, W, C)` in pixels, `C` 1 (grey) or 3 (RGB).
        values: `ValueRange` or None. Of all images of the set; `None`: this image is the set.
            Defaults to `None`.

    Returns:
        uint8 array of that shape.
    """
    height, width, channels = image_shape
    _drop_odd_metadata(opened)
    opened.load()
    image = _flatten(_upright(opened), values).convert("L" if channels == 1 else "RGB")
    return scaled(np.asarray(image).reshape(*image.size[::-1], channels), (height, width))


def scaled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image in another size, by an antialiased Lanczos filter; the aspect ratio is not kept.

    Args:
        pixels: uint8 array, `[h, w, C]`, `C` 1 or 3.
        size: tuple `(H, W)` in pixels.

    Returns:
        uint8 array, `[H, W, C]`.
    """
    if pixels.shape[:2] == size:
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image = image.resize(size[::-1], Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(*size, pixels.shape[-1])


def is_blank(pixels: np.ndarray) -> bool:
    """Whether hardly anything can be seen: (nearly) one value, or black or white almost all over.

    Args:
        pixels: uint8 array.
    """
    most = BLANK_SHARE * pixels.size
    return bool(
        int(pixels.max()) - int(pixels.min()) <= BLANK_CONTRAST
        or np.count_nonzero(pixels == 0) >= most
        or np.count_nonzero(pixels == 255) >= most
    )


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Whatever Pillow raises for a file becomes an error that names it."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of very large pictures and odd metadata; they are the user's own.
            warnings.simplefilter("ignore")
            yield
    # Its plugins let errors of any kind through: the files come from anywhere.
    except Exception as error:
        raise _unreadable(file, error) from error


def _drop_odd_metadata(image: Image.Image) -> None:
    """Of TIFF files Pillow reads the orientation itself, and fails where XMP is no text."""
    for key in ("xmp", "XML:com.adobe.xmp"):
        if not isinstance(image.info.get(key, ""), (str, bytes)):
            del image.info[key]


def _upright(image: Image.Image) -> Image.Image:
    """Applies the camera's orientation; metadata that cannot be read have none."""
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _flatten(image: Image.Image, values: ValueRange | None) -> Image.Image:
    """Modes that `convert` would mistreat: more than 8 bits, and transparency."""
    if image.mode.startswith(DEEP):
        pixels = np.asarray(image)
        return Image.fromarray((values or ValueRange.of(pixels)).eight_bits(pixels))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image


def _unreadable(file: Path, error: Exception) -> ValueError:
    reason = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "it is no image of a known format"
    return ValueError(f"Cannot read the image {file}: {reason}.")
