"""Rows of the tables of Dense Classification and Implanting."""

from kfsl.evidence.paper_row import PaperRow

PAPER = "Dense Classification and Implanting (Lifchitz et al., 2019)"
FC100 = "FC100, 60 / 20 / 20 classes"
MINI_IMAGENET = "miniImageNet, 64 / 16 / 20 classes, re-encoded at 84 pixels"
QUERIES = "30 queries of each class in the test"
IMPLANTS = f"{QUERIES}; 16 channels, 50 updates"


def _classifier(
    dataset: str, text: str, suffix: str, method: str, source: str, numbers: dict[int, tuple]
) -> tuple[PaperRow, ...]:
    """Rows of one training: it is of five shots, the others evaluate its weights."""
    trained = f"{dataset}_dense_classification_5way_5shot{suffix}"
    average = f"{suffix}_average"
    rows = []
    for shots in sorted(numbers, key=lambda shots: shots != 5):
        name = trained.replace("5shot", f"{shots}shot")
        against = f"{name.removesuffix(suffix)}{average}" if "average" not in suffix else None
        rows.append(
            PaperRow(
                name, "dense_classification", PAPER, method, text, QUERIES, *numbers[shots], source,
                against, starts_from=None if shots == 5 else trained,
            )
        )  # fmt: skip
    return tuple(rows)


def _implants(
    dataset: str, text: str, suffix: str, source: str, shots: int, *number: float
) -> PaperRow:
    trained = f"{dataset}_dense_classification_5way_5shot{suffix}"
    return PaperRow(
        f"{dataset}_implanting_5way_{shots}shot", "dense_classification", PAPER,
        "ResNet-12, dense, implants", text, IMPLANTS, *number, source,
        trained.replace("5shot", f"{shots}shot"), starts_from=trained,
    )  # fmt: skip


FC100_ROWS = (
    *_classifier(
        "fc100", FC100, "_average", "ResNet-12, pooled", "Table 5",
        {1: (41.02, 0.17), 5: (56.63, 0.16), 10: (61.65, 0.15)},
    ),
    *_classifier(
        "fc100", FC100, "", "ResNet-12, dense", "Table 5",
        {1: (42.04, 0.17), 5: (57.05, 0.16), 10: (61.91, 0.16)},
    ),
    _implants("fc100", FC100, "", "Table 5", 5, 57.63, 0.23),
    _implants("fc100", FC100, "", "Table 5", 10, 62.91, 0.22),
)  # fmt: skip
MINI_IMAGENET_ROWS = (
    *_classifier(
        "mini_imagenet", MINI_IMAGENET, "_c128f_average", "C128F, pooled", "Table 1",
        {1: (54.28, 0.18), 5: (71.60, 0.13), 10: (76.92, 0.12)},
    ),
    *_classifier(
        "mini_imagenet", MINI_IMAGENET, "_c128f", "C128F, dense", "Table 1",
        {1: (49.84, 0.18), 5: (69.64, 0.15), 10: (74.61, 0.13)},
    ),
)  # fmt: skip
FURTHER_ROWS = (
    *_classifier(
        "mini_imagenet", MINI_IMAGENET, "_resnet12_average", "ResNet-12, pooled", "Table 4",
        {1: (58.61, 0.18), 5: (76.40, 0.13), 10: (80.76, 0.11)},
    ),
    *_classifier(
        "mini_imagenet", MINI_IMAGENET, "_resnet12", "ResNet-12, dense", "Table 4",
        {1: (62.53, 0.19), 5: (78.95, 0.13), 10: (82.66, 0.11)},
    ),
    _implants("mini_imagenet", MINI_IMAGENET, "_resnet12", "Table 4", 5, 79.77, 0.19),
    _implants("mini_imagenet", MINI_IMAGENET, "_resnet12", "Table 4", 10, 83.83, 0.16),
)  # fmt: skip
