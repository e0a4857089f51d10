"""What an analysis hands back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Analysis(NamedTuple):
    """What an analysis found.

    Args:
        name: str. Name of its files.
        figure: matplotlib `Figure` or None, where there is nothing to draw.
        values: dict that JSON can hold: the numbers in the figure.
        table: str. Printed, where there is something to read.
        conclusion: str. The last line printed.
        markdown: str. The table for a page, written beside the numbers where there is one.
        write: function or None. Writes what there is besides, and returns the files.
    """

    name: str
    figure: "Figure | None"
    values: dict[str, Any]
    table: str = ""
    conclusion: str = ""
    markdown: str = ""
    write: Callable[[], list[str]] | None = None
