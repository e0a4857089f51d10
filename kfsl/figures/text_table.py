"""Numbers as aligned lines of text."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Aligns the columns of a table.

    Args:
        rows: sequence of sequences of str, all of the same length; the first is the heading.

    Returns:
        str, a line for each row.

    Example:
    ```python
    from kfsl.figures.text_table import text_table

    lines = text_table([("block", "share"), ("block2_bn", "0.5")]).splitlines()
    assert lines == ["block      share", "block2_bn  0.5"]
    ```
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in rows]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The same as a table of Markdown.

    Args:
        rows: sequence of sequences of str, all of the same length; the first is the heading.

    Returns:
        str, a line for each row and one below the heading.

    Example:
    ```python
    from kfsl.figures.text_table import markdown_table

    assert markdown_table([("a|b", "c"), ("1", "2")]).splitlines()[0] == r"| a\\|b | c |"
    ```
    """
    heading, *others = rows
    cells = [heading, ["---"] * len(heading), *others]
    lines = ("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells)
    return "\n".join(lines)
