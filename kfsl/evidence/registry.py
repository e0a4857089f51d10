"""The rows of the papers' tables, in the order in which a campaign works through them."""

import difflib

from kfsl.evidence.paper_row import PaperRow, row_name
from kfsl.evidence.papers import (
    cross_modulation,
    dense_classification,
    kml,
    maml,
    modgrad,
    stanet,
)

ROWS: tuple[PaperRow, ...] = (
    *stanet.OMNIGLOT_ROWS,
    *maml.OMNIGLOT_ROWS,
    *stanet.EASY_ROWS,
    *cross_modulation.MINI_IMAGENET_ROWS,
    stanet.MINI_IMAGENET_PROTOTYPICAL,
    *stanet.MINI_IMAGENET_ROWS,
    modgrad.MINI_IMAGENET_ROWS[0],
    *maml.MINI_IMAGENET_ROWS,
    modgrad.MINI_IMAGENET_ROWS[1],
    *modgrad.MULTI_SHOT_ROWS,
    *dense_classification.FC100_ROWS,
    *dense_classification.MINI_IMAGENET_ROWS,
    *kml.TWO_MODE_ROWS,
    *modgrad.COMPLETION_ROWS,
    *modgrad.NAVIGATION_ROWS,
    *modgrad.CHEETAH_ROWS,
    *stanet.FURTHER_ROWS,
    *cross_modulation.FURTHER_ROWS,
    *modgrad.FURTHER_ROWS,
    *modgrad.FACES_ROWS,
    *maml.FURTHER_ROWS,
    *dense_classification.FURTHER_ROWS,
    *kml.FURTHER_ROWS,
)

_BY_NAME = {row.name: row for row in ROWS}


def paper_row(name: str) -> PaperRow:
    """A row by its name.

    Args:
        name: str.

    Returns:
        `PaperRow`.

    Raises:
        ValueError: naming the rows that are alike.
    """
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, n=3)
        hint = f"perhaps {' or '.join(near)}" if near else "see the list without --row"
        raise ValueError(f"There is no row {name!r}; {hint}.")
    return _BY_NAME[name]


def row_of_folder(folder: str) -> PaperRow | None:
    """The row whose run, of one seed or another, has this folder's name; None for other runs."""
    row = _BY_NAME.get(row_name(folder))
    return row if row is not None and folder in row.folders else None
