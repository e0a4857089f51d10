"""Rows of ModGrad's tables and figures, with the methods that it is compared with."""

from kfsl.evidence.paper_row import PaperRow

PAPER = "ModGrad (Simon et al., 2020)"
MINI_IMAGENET = "miniImageNet, 64 / 16 / 20 classes, re-encoded at 84 pixels"
MULTI_SHOT = "Omniglot, 20 characters of each of 25 / 11 / 10 alphabets"
TRANSFORMED = (
    "15 images of each class, where the paper has 1 to 25, and 5 queries; 100 inner steps on "
    "images transformed anew; moments of the support set in the test"
)
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
#: Per cell of table 3: what is given, and the numbers of its methods.
COMPLETION = {
    ("random", 10): (0.039, 0.040, 0.037, 0.034),
    ("random", 100): (0.016, 0.017, 0.014, 0.012),
    ("ordered", 10): (0.057, 0.055, 0.053, 0.048),
    ("ordered", 100): (0.047, 0.047, 0.047, 0.043),
}
COMPLETING = {
    "cnp": "Conditional neural process",
    "maml": "MAML, five steps",
    "cavia": "CAVIA, five steps",
    "modgrad": "ModGrad, one step",
}
FACES = "CelebA at 32 pixels, official partition"
OBJECTS = "CIFAR-100, 64 / 16 / 20 classes (CIFAR-FS)"


def _completions(dataset: str, words: str, published: bool) -> tuple[PaperRow, ...]:
    rows = []
    for (order, points), numbers in COMPLETION.items():
        given = f"{points} random pixels" if order == "random" else f"first {points} pixels"
        for (method, told), number in zip(COMPLETING.items(), numbers, strict=True):
            other = None if method in ("cnp", "maml") else f"{dataset}_maml_{order}_{points}"
            rows.append(
                PaperRow(
                    f"{dataset}_{method}_{order}_{points}", "modgrad", PAPER, told, words,
                    published=number if published else None,
                    source="Table 3" if published else "", against=other,
                    task=f"{given} of 1,024 given",
                )
            )  # fmt: skip
    return tuple(rows)


#: Of figure 8, after one update, as far as the text tells its numbers.
NAVIGATION = "2D navigation, goals within 0.5"
DIRECTION = "Half-cheetah, forwards or backwards, 200 steps"
ACTING = "20 rollouts an update; 40 tasks in the test"
AFTER_ONE = "one update"


def _policies(
    words: str,
    rows: tuple[tuple, ...],
    seeds: tuple[int, ...],
    protocol: str = ACTING,
) -> tuple[PaperRow, ...]:
    first = rows[0][0]
    return tuple(
        PaperRow(
            name, "gin/rl", PAPER, told, words, protocol, number,
            source="section 5.3" if number is not None else "",
            against=None if name == first else first, seeds=seeds, task=AFTER_ONE,
            trainer="train_policy",
        )
        for name, told, number in rows
    )  # fmt: skip


NAVIGATION_ROWS = _policies(
    NAVIGATION,
    (
        # Of the others the text tells bounds alone.
        ("navigation", "MAML (paper: below -15)", None),
        ("navigation_cavia", "CAVIA (paper: below -15)", None),
        ("navigation_modgrad", "ModGrad", -8.0),
    ),
    (0, 1, 2),
)  # fmt: skip
CHEETAH_ROWS = _policies(
    DIRECTION,
    (
        ("half_cheetah_direction_maml_100_iterations", "MAML (paper: below 550)", None),
        ("half_cheetah_direction_modgrad_100_iterations", "ModGrad", 590.0),
    ),
    (0,),
    f"100 of 500 outer steps; {ACTING}",
)  # fmt: skip

COMPLETION_ROWS = _completions("cifar_fs", OBJECTS, published=False)
FACES_ROWS = _completions("celeb_a", FACES, published=True)
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
