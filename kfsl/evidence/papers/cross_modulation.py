"""Rows of Cross-Modulation Networks' table."""

from kfsl.evidence.paper_row import PaperRow

PAPER = "Cross-Modulation Networks (Prol et al., 2018)"
OMNIGLOT = "Omniglot, 1028 / 172 / 423 characters, rotations as classes"
CIFAR = "Meta-CIFAR100 easy, 64 / 16 / 20 classes"
MINI_IMAGENET = "miniImageNet, 64 / 16 / 20 classes, re-encoded at 84 pixels"
FIVE, FIFTEEN = (f"{n} queries of each class in training" for n in ("five", "15"))
BOTH = (0, 1)


def _pair(
    dataset: str, text: str, shots: int, theirs: tuple, baseline: tuple, seeds: tuple[int, ...]
) -> tuple[PaperRow, PaperRow]:
    """Matching Networks, and the Cross-Modulation Network that the paper compares with them."""
    source = "Table 1" if theirs else ""
    matching = f"{dataset}_matching_network_5way_{shots}shot"
    return (
        PaperRow(
            matching, "cross_modulation", PAPER, "Matching Networks", text, FIFTEEN, *baseline,
            source=source, seeds=seeds,
        ),
        PaperRow(
            f"{dataset}_cross_modulation_5way_{shots}shot", "cross_modulation", PAPER,
            "Cross-Modulation Network", text, FIVE, *theirs, source=source, against=matching,
            seeds=seeds,
        ),
    )  # fmt: skip


MINI_IMAGENET_ROWS = _pair("mini_imagenet", MINI_IMAGENET, 1, (50.94, 0.61), (49.39, 0.62), BOTH)
FURTHER_ROWS = (
    *_pair("mini_imagenet", MINI_IMAGENET, 5, (66.65, 0.67), (66.16, 0.68), BOTH),
    *_pair("meta_cifar100_easy", CIFAR, 1, (), (), (0,)),
    *_pair("omniglot", OMNIGLOT, 1, (), (), (0,)),
    PaperRow(
        "omniglot_matching_network_5way_1shot_5_queries", "cross_modulation", PAPER,
        "Matching Networks, 5 queries", OMNIGLOT, FIVE,
    ),
)  # fmt: skip
