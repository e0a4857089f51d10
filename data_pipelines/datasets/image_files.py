"""Image files: which there are in a folder, and their pixels in one shape."""

import struct
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# What Pillow raises for damaged files.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    Image.DecompressionBombError,
    struct.error,
)


def list_images(folder: Path, missing_ok: bool = False) -> list[Path]:
    """Image files directly in a folder, sorted by name.

    A file counts as an image when Pillow knows its ending. Hidden files are left out.

    Args:
        folder: `pathlib.Path`.
        missing_ok: `bool`, whether a folder that does not exist counts as empty.

    Returns:
        List of paths.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if missing_ok and not folder.is_dir():
        return []
    known = Image.registered_extensions()
    return [
        file
        for file in sorted(folder.iterdir())
        if known.get(file.suffix.lower()) in Image.OPEN
        and not file.name.startswith(".")
        and file.is_file()
    ]


def list_folders(folder: Path) -> list[Path]:
    """Folders directly in a folder, sorted by name, without hidden ones."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
    ]


def require_folders(source: Path, names: tuple[str, ...], layout: str) -> None:
    """Checks that a source has the folders of its layout.

    Raises:
        ValueError: one is missing; the message shows the layout.
    """
    missing = [name for name in names if not (source / name).is_dir()]
    if missing:
        raise ValueError(f"{source} has no folder {missing[0]}/; expected {layout}.")


def check_headers(files: Iterable[Path]) -> None:
    """Opens each file without decoding it, so that a broken one shows before the long work.

    Raises:
        ValueError: a file is empty or no image of a known format; the message names it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            try:
                Image.open(file).close()
            except UNREADABLE as error:
                raise _unreadable(file, error) from error


def read_image(file: Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Pixels of an image file in the wanted shape.

    The camera's orientation is applied, transparency is laid over white, 16-bit grey keeps its
    upper 8 bits. Another size is scaled with an antialiased Lanczos filter to exactly the wanted
    one: the aspect ratio is not kept, nothing is cropped. Of an animation the first frame counts.

    Args:
        file: `pathlib.Path`, any format that Pillow reads.
        image_shape: tuple `(H, W, C)` in pixels, `C` 1 (grey) or 3 (RGB).

    Returns:
        `uint8` array of that shape.

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
    height, width, channels = image_shape
    try:
        with warnings.catch_warnings():
            # Pillow warns of very large pictures and odd metadata; they are the user's own.
            warnings.simplefilter("ignore")
            with Image.open(file) as opened:
                opened.load()
                image = ImageOps.exif_transpose(opened)
                image = _flatten(image).convert("L" if channels == 1 else "RGB")
    except UNREADABLE as error:
        raise _unreadable(file, error) from error
    if image.size != (width, height):
        image = image.resize((width, height), resample=Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(image_shape)


def _flatten(image: Image.Image) -> Image.Image:
    """Modes that `convert` would mistreat: more than 8 bits, and transparency."""
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        scale = 255.0 if pixels.max(initial=0.0) <= 1.0 else 1.0
    else:
        # A 16-bit picture in 32 bits uses more than 8 of them somewhere.
        sixteen = image.mode.startswith("I;16") or pixels.max(initial=0.0) > 255
        scale = 1 / 257 if sixteen else 1.0
    return Image.fromarray(np.clip(np.rint(pixels * scale), 0, 255).astype(np.uint8))


def _unreadable(file: Path, error: Exception) -> ValueError:
    reason = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "it is no image of a known format"
    return ValueError(f"Cannot read the image {file}: {reason}.")
