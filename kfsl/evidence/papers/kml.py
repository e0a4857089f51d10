"""Rows of the table of multimodal meta-learning: modulated networks on mixtures of datasets."""

from kfsl.evidence.paper_row import PaperRow

PAPER = "Revisit Multimodal Meta-Learning (Abdollahzadeh et al., 2021)"
MIXTURES = {
    "two_mode": "miniImageNet and Omniglot, at 84 pixels",
    "two_mode_fc100": "miniImageNet and FC100, at 84 pixels",
    "three_mode": "miniImageNet, Omniglot and FC100, at 84 pixels",
    "five_mode": "miniImageNet, Omniglot, FC100, Aircraft and CUB, at 84 pixels",
}
PROTOCOL = "tasks of each dataset in turn; moments of each batch, at test too"

#: What the gin file of a method is called, with what stands behind the shots; and the method that
#: it is compared with.
METHODS = {
    "ProtoNet": ("prototypical_network", "", None),
    "MProtoNet": ("kml", "_film", "ProtoNet"),
    "MProtoNet, KML": ("kml", "", "MProtoNet"),
    "MAML": ("maml", "", None),
    "MMAML": ("multimodal_maml", "", "MAML"),
    "MMAML, KML": ("multimodal_maml", "_kml", "MMAML"),
}

#: Per cent and half interval, of the methods in their order.
NUMBERS = {
    ("two_mode", 1): (
        (69.55, 0.54), (70.60, 0.56), (73.69, 0.52), (65.18, 0.61), (67.67, 0.63), (68.01, 0.59),
    ),
    ("two_mode", 5): (
        (75.12, 0.41), (75.72, 0.47), (79.82, 0.40), (74.18, 0.57), (73.52, 0.71), (77.02, 0.66),
    ),
    ("two_mode_fc100", 1): (
        (43.05, 0.58), (43.57, 0.59), (44.40, 0.65), (40.53, 0.68), (39.11, 0.62), (40.73, 0.66),
    ),
    ("two_mode_fc100", 5): (
        (57.70, 0.59), (56.03, 0.64), (59.31, 0.62), (54.11, 0.63), (52.02, 0.63), (53.72, 0.60),
    ),
    ("three_mode", 1): (
        (58.14, 0.49), (59.62, 0.54), (62.08, 0.54), (54.40, 0.56), (57.35, 0.61), (57.68, 0.59),
    ),
    ("three_mode", 5): (
        (66.84, 0.44), (67.51, 0.47), (70.03, 0.43), (66.51, 0.54), (64.21, 0.57), (67.12, 0.55),
    ),
    ("five_mode", 1): (
        (49.31, 0.53), (51.75, 0.52), (56.72, 0.46), (47.19, 0.49), (49.53, 0.50), (50.31, 0.49),
    ),
    ("five_mode", 5): (
        (58.91, 0.51), (59.95, 0.42), (64.91, 0.38), (58.13, 0.48), (58.89, 0.47), (60.51, 0.47),
    ),
}  # fmt: skip


def _name(mixture: str, shots: int, method: str) -> str:
    stem, suffix, _ = METHODS[method]
    return f"{mixture}_{stem}_5way_{shots}shot{suffix}"


def _rows(mixture: str, shots: int) -> tuple[PaperRow, ...]:
    rows = []
    for (method, (_, _, other)), number in zip(
        METHODS.items(), NUMBERS[mixture, shots], strict=True
    ):
        against = None if other is None else _name(mixture, shots, other)
        rows.append(
            PaperRow(
                _name(mixture, shots, method), "kml", PAPER, method, MIXTURES[mixture], PROTOCOL,
                *number, "Table of results", against,
            )
        )  # fmt: skip
    return tuple(rows)


def _full(mixture: str) -> PaperRow:
    return PaperRow(
        f"{mixture}_kml_5way_1shot_full", "kml", PAPER, "MProtoNet, KML, full generators",
        MIXTURES[mixture], PROTOCOL, against=_name(mixture, 1, "MProtoNet, KML"),
    )  # fmt: skip


#: Multi-ProtoNet, 1-shot: per cent and half interval.
EXPERTS = {"two_mode": (70.17, 0.61), "two_mode_fc100": (43.42, 0.56)}

#: What the mixtures of two are made of.
PARTS = {"two_mode": ("mini_imagenet", "omniglot"), "two_mode_fc100": ("mini_imagenet", "fc100")}


def _experts(mixture: str) -> tuple[PaperRow, ...]:
    """One ProtoNet for each mode, and both together, the mode known."""
    base = _name(mixture, 1, "ProtoNet")
    alone = tuple(
        PaperRow(
            f"{base}_{part}", "kml", PAPER, f"ProtoNet, trained on {part} alone",
            MIXTURES[mixture], PROTOCOL, against=base,
        )
        for part in PARTS[mixture]
    )  # fmt: skip
    together = PaperRow(
        f"{base}_experts", "kml", PAPER, "Multi-ProtoNet, the mode known", MIXTURES[mixture],
        PROTOCOL, *EXPERTS[mixture], "Table of results", base,
        experts=tuple(row.name for row in alone),
    )  # fmt: skip
    return (*alone, together)


#: Prototypes on the mixtures of two, 1-shot.
TWO_MODE_ROWS = tuple(
    row
    for mixture in ("two_mode", "two_mode_fc100")
    for row in (*_rows(mixture, 1)[:3], _full(mixture), *_experts(mixture))
)
FURTHER_ROWS = tuple(row for cell in NUMBERS for row in _rows(*cell) if row not in TWO_MODE_ROWS)
