"""Rows of MAML's table and of those that quote it."""

from kfsl.evidence.paper_row import PaperRow

PAPER = "MAML (Finn et al., 2017)"
APART = "Omniglot, 1028 / 172 / 423 characters"
MIXED = "Omniglot, 1100 / 100 / 423 characters of all alphabets mixed"
MINI_IMAGENET = "miniImageNet, 64 / 16 / 20 classes, re-encoded at 84 pixels"
ROTATED = "a random rotation of each class in each episode"
STRICT = f"{ROTATED}; 15 queries of each class in the test, of alphabets of the test alone"

OMNIGLOT_ROWS = (
    PaperRow(
        "omniglot_maml_5way_1shot_mixed", "maml", PAPER, "MAML, the paper's protocol", MIXED,
        f"{ROTATED}; one query of each class, normalised together: the test alphabets are seen in "
        "training",
        98.7, 0.4, "Table 1",
    ),
    PaperRow(
        "omniglot_maml_5way_1shot", "maml", PAPER, "MAML", APART, STRICT, 98.7, 0.4, "Table 1"
    ),
)  # fmt: skip
MINI_IMAGENET_ROWS = (
    PaperRow(
        "mini_imagenet_maml_5way_1shot_first_order", "maml", PAPER, "MAML, first order",
        MINI_IMAGENET, "", 48.07, 1.75, "Table 1",
    ),
    PaperRow(
        "mini_imagenet_maml_5way_1shot", "maml", PAPER, "MAML", MINI_IMAGENET, "",
        48.70, 1.84, "Table 1",
    ),
)  # fmt: skip
FURTHER_ROWS = (
    PaperRow(
        "mini_imagenet_maml_5way_5shot", "maml", PAPER, "MAML", MINI_IMAGENET, "",
        63.11, 0.92, "Table 1",
    ),
    PaperRow(
        "omniglot_maml_5way_1shot_8000_updates", "maml", PAPER, "MAML, 128,000 tasks", APART,
        STRICT, 98.7, 0.4, "Table 1",
    ),
    PaperRow(
        "omniglot_maml_5way_1shot_stock_normalization", "maml", PAPER,
        "MAML, 128,000 tasks, Keras's batch normalisation", APART, STRICT,
        against="omniglot_maml_5way_1shot_8000_updates",
    ),
    PaperRow(
        "omniglot_maml_5way_1shot_conv4", "maml", PAPER,
        "MAML, network and updates of ModGrad's row", APART, STRICT,
    ),
)  # fmt: skip
