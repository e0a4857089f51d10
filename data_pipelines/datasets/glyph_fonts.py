"""The characters and faces from which the `glyphs` dataset is drawn."""

import functools
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

SIZE = 28
OVERSAMPLING = 4
CANVAS = SIZE * OVERSAMPLING
FONT_SIZE = 96
LARGEST_INK = 84
MIN_FACES = 4
# Root mean square difference, of 255 grey levels, below which two drawings are the same to the eye.
LOOK_ALIKE = 12

# Text faces that matplotlib ships. Left out: LastResort and the display faces, and the TeX faces
# whose code points hold mathematical symbols instead of the letters they name.
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
    "cmb10",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)

# First word of a character's Unicode name, where it is not the script itself.
_SCRIPTS = {
    "CANADIAN": "Canadian_Syllabics",
    "OLD": "Old_Italic",
    "ARABIC-INDIC": "Arabic",
    "EXTENDED": "Arabic",
    "DIGIT": "Latin",
    "TURNED": "Latin",
    "ROMAN": "Latin",
}


def face_path(face: str) -> Path:
    """The font file of a face, inside the installed matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


def class_name(character: str) -> str:
    """Name of a character's class: its script and code point, such as `Greek/U+03B1`."""
    first = unicodedata.name(character).split()[0]
    return f"{_SCRIPTS.get(first, first.capitalize())}/U+{ord(character):04X}"


def character_of(name: str) -> str:
    """The character of a class; the inverse of `class_name`."""
    return chr(int(name.rpartition("U+")[2], 16))


def is_candidate(character: str) -> bool:
    """Whether a character is a letter or decimal digit and no composition of others.

    Modifier letters (category Lm) are left out: they are small marks such as the prime.
    """
    return unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo", "Nd") and not (
        unicodedata.decomposition(character)
    )


@functools.cache
def candidate_faces() -> Mapping[str, tuple[str, ...]]:
    """Candidate characters in code-point order, each with the faces (at least 4) that have it."""
    standing: dict[str, list[str]] = {}
    for face in FACES:
        for code in FT2Font(str(face_path(face))).get_charmap():
            if is_candidate(chr(code)):
                standing.setdefault(chr(code), []).append(face)
    return {
        character: tuple(faces)
        for character, faces in sorted(standing.items())
        if len(faces) >= MIN_FACES
    }


@functools.cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout engine does not depend on libraries of the machine.
    return ImageFont.truetype(str(face_path(face)), size, layout_engine=ImageFont.Layout.BASIC)


def glyph_canvas(character: str, face: str) -> Image.Image:
    """A character large and centred by its ink, 0 = paper and 255 = ink.

    Sizes keep their proportion within a face (`c` is smaller than `C`), but nothing is larger than
    three quarters of the canvas.

    Args:
        character: str of length 1.
        face: str. One of `FACES`.

    Returns:
        Grey image of `CANVAS` x `CANVAS` pixels.
    """
    font = _font(face, FONT_SIZE)
    left, top, right, bottom = font.getbbox(character)
    largest = max(right - left, bottom - top)
    if largest > LARGEST_INK:
        font = _font(face, FONT_SIZE * LARGEST_INK // largest)
    mask = Image.new("L", (3 * CANVAS, 3 * CANVAS))
    ImageDraw.Draw(mask).text((CANVAS, CANVAS), character, fill=255, font=font)
    canvas = Image.new("L", (CANVAS, CANVAS))
    box = mask.getbbox()
    if box is not None:
        ink = mask.crop(box)
        canvas.paste(ink, ((CANVAS - ink.width) // 2, (CANVAS - ink.height) // 2))
    return canvas


def bitmap(character: str, face: str) -> np.ndarray:
    """The undistorted drawing of a character in a face, `uint8` `[28, 28]`, 255 = ink."""
    return np.asarray(glyph_canvas(character, face).reduce(OVERSAMPLING))


def look_alikes(images: np.ndarray) -> np.ndarray:
    """Pairs of images whose root mean square difference is below `LOOK_ALIKE`.

    Args:
        images: uint8 array of shape `[n, pixels]`.

    Returns:
        int64 array of shape `[pairs, 2]`, the first index smaller than the second.
    """
    # Products of bytes add up exactly in float64, so the result does not depend on the machine.
    pixels = images.astype(np.float64)
    squares = np.square(pixels).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * (pixels @ pixels.T)
    return np.argwhere(np.triu(distances < LOOK_ALIKE**2 * images.shape[1], k=1))


def distinct_characters() -> tuple[str, ...]:
    """Candidates of which no two look alike in any face.

    Characters that look alike, directly or through a third one, form a group; the first of each
    group in code-point order stays. Characters without ink are dropped.

    Returns:
        Characters in code-point order.
    """
    faces = candidate_faces()
    leader = {character: character for character in faces}

    def root(character: str) -> str:
        while leader[character] != character:
            character = leader[character]
        return character

    without_ink = set()
    for face in FACES:
        characters = [c for c in faces if face in faces[c]]
        if not characters:
            continue
        images = np.stack([bitmap(c, face) for c in characters]).reshape(len(characters), -1)
        inked = images.any(axis=1)
        without_ink.update(c for c, ink in zip(characters, inked, strict=True) if not ink)
        for pair in look_alikes(images):
            if inked[pair].all():
                first, second = sorted(root(characters[i]) for i in pair)
                leader[second] = first
    return tuple(c for c in faces if root(c) == c and c not in without_ink)
