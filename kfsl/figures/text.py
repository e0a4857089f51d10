"""Text that a figure can show."""

from functools import lru_cache

from matplotlib import font_manager


def printable(text: str, width: int = 24) -> str:
    """Text in the figure's own font, no longer than `width`.

    Class names are the user's: any script, any length. A character that the font lacks is
    written as its code point, and the middle of a long name is left out, since names of one
    dataset tend to begin alike and to end apart.

    Args:
        text: str.
        width: int. Characters.

    Returns:
        str.

    Example:
    ```python
    from kfsl.figures.text import printable

    assert printable("Latin/a") == "Latin/a"
    assert printable("abcdefghij", width=5) == "a…hij"
    ```
    """
    shown = "".join(c if _has_glyph(c) else f"U+{ord(c):04X}" for c in text)
    if len(shown) <= width:
        return shown
    head = (width - 1) // 3
    return f"{shown[:head]}…{shown[len(shown) - (width - 1 - head) :]}"


@lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    path = font_manager.findfont(font_manager.FontProperties())
    return font_manager.get_font(path).get_char_index(ord(character)) != 0
