"""Rows of ModGrad's tables and figures, with the methods that it is compared with."""

from kfsl.evidence.paper_row import PaperRow

PAPER = "ModGrad (Simon et al., 2020)"
MINI_IMAGENET = "miniImageNet, 64 / 16 / 20 classes, re-encoded at 84 pixels"
MULTI_SHOT = "Omniglot, 20 characters of each of 25 / 11 / 10 alphabets"
TRANSFORMED = "100 inner steps on images transformed anew; moments of the support set in the test"
REPTILE = "multishot_omniglot_reptile_20way_15shot"

MINI_IMAGENET_ROWS = (
    PaperRow(
        "mini_imagenet_modgrad_5way_1shot", "modgrad", PAPER, "ModGrad, Conv-4, one step",
        MINI_IMAGENET, "", 53.20, 0.86, "Table 2",
    ),
    PaperRow(
        "mini_imagenet_cavia_5way_1shot_32_filters", "cavia", PAPER, "CAVIA, 32 filters",
        MINI_IMAGENET, "", 47.24, 0.65, "Zintgraf et al., 2019",
    ),
)  # fmt: skip
MULTI_SHOT_ROWS = (
    PaperRow(
        REPTILE, "modgrad", PAPER, "Reptile", MULTI_SHOT, TRANSFORMED, 76.4, source="Figure 5"
    ),
    PaperRow(
        "multishot_omniglot_modgrad_20way_15shot", "modgrad", PAPER,
        "ModGrad, from Reptile's weights", MULTI_SHOT, TRANSFORMED, 85.1, source="Figure 5",
        against=REPTILE, starts_from=REPTILE,
    ),
)  # fmt: skip
FURTHER_ROWS = (
    PaperRow(
        "omniglot_modgrad_5way_1shot", "modgrad", PAPER, "ModGrad, Conv-4, one step",
        "Omniglot, 1028 / 172 / 423 characters",
        "a random rotation of each class in each episode; 15 queries of each class in the test",
        against="omniglot_maml_5way_1shot_conv4",
    ),
    PaperRow(
        "mini_imagenet_modgrad_5way_5shot", "modgrad", PAPER, "ModGrad, Conv-4, one step",
        MINI_IMAGENET, "", 69.17, 0.69, "Table 2",
    ),
)  # fmt: skip
